# SPDX-License-Identifier: Apache-2.0
"""What networks say of themselves, set right by what was measured: `python -m training calibrate`."""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

CALIBRATION_FILE = 'calibration.json'  # beside the networks that it was measured with
SMALLEST = 1e-4  # a probability nearer to 0 or 1 counts as this near


@dataclass(frozen=True)
class Calibration:
    """How confidences and errors follow from what networks say; by default they say it right."""

    rotation_scale: float = 1.0  # sigma = scale * s ** power, of the refiner's s in rad
    rotation_power: float = 1.0
    position_scale: float = 1.0  # the same in m
    position_power: float = 1.0
    heat_weight: float = 0.0  # of the log odds of the head finder's heat
    confidence_weight: float = 1.0  # of those of the pose network's confidence
    doubt_weight: float = 0.0  # of the log of its sigma of rotation in rad, which speaks against a face
    bias: float = 0.0  # log odds

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        """What a folder of networks holds; a folder without the file was not calibrated.

        :raises ValueError: there is a file, and it is not one of these.
        """
        file = folder / CALIBRATION_FILE
        if not file.exists():
            return cls()
        names = [field.name for field in fields(cls)]
        try:
            values = json.loads(file.read_text())
            return cls(**{name: float(values[name]) for name in names})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'{file}: expected the numbers {", ".join(names)}; write it anew with '
                             f'`python -m training calibrate` ({error!r})') from error

    def save(self, folder: Path, **notes) -> None:
        """Write it beside the networks, with notes on how it was found."""
        (folder / CALIBRATION_FILE).write_text(json.dumps(asdict(self) | notes, indent=2) + '\n')

    def std(self, rotation_std: np.ndarray, position_std: np.ndarray) -> tuple[np.ndarray, ...]:
        """One sigma of results, rad and m (N,) each, from what the refiner says of its own."""
        return (self.rotation_scale * rotation_std ** self.rotation_power,
                self.position_scale * position_std ** self.position_power)

    def confidence(self, heat: np.ndarray, confidence: np.ndarray,
                   rotation_std: np.ndarray) -> np.ndarray:
        """The probability (N,) of a face after head finder and pose network were asked, (N,) each.

        Logistic regression on the log odds of both, and on the log of the pose's doubt, in rad: what
        is no face has no pose either.
        """
        odds = (self.bias + self.heat_weight * log_odds(heat)
                + self.confidence_weight * log_odds(confidence)
                - self.doubt_weight * np.log(rotation_std))
        return probability(odds)


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Of a probability, which need not be sharper than SMALLEST."""
    probability = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return np.log(probability / (1 - probability))


def probability(log_odds: np.ndarray) -> np.ndarray:
    """The inverse of :func:`log_odds`."""
    return 1 / (1 + np.exp(-log_odds))
