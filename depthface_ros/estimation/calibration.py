# SPDX-License-Identifier: Apache-2.0
"""Calibration of predicted confidences and sigmas; fitted by `python -m training calibrate`."""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np

from depthface_ros.io.errors import one_line
from depthface_ros.io.text_files import read_json

CALIBRATION_FILE = 'calibration.json'  # beside the networks that it was measured with
FACTOR = '_factor'  # how the names of optional numbers end
TRACKED = 'tracked_'  # how the names of the factors of tracked faces begin
MIN_PROBABILITY = 1e-4  # probabilities are clipped to this and to one minus this


@dataclass(frozen=True)
class Calibration:
    """Map from predicted to calibrated confidences and sigmas; the identity by default."""

    rotation_scale: float = 1.0  # sigma = scale * s ** power, s predicted by the refiner in rad
    rotation_power: float = 1.0
    position_scale: float = 1.0  # the same in m
    position_power: float = 1.0
    detector_weight: float = 0.0  # of the log odds of the detector score
    confidence_weight: float = 1.0  # of the log odds of the pose network's confidence
    doubt_weight: float = 0.0  # of the log of the predicted sigma of rotation in rad, negative
    bias: float = 0.0  # log odds
    # Sigma of an axis relative to that of all axes together, see `covariance.error_axes`. Files
    # without these numbers mean 1.
    lateral_factor: float = 1.0  # position across the viewing ray
    down_factor: float = 1.0  # further factor of the axis that points down
    radial_factor: float = 1.0  # position along the viewing ray
    roll_factor: float = 1.0  # rotation about x of the face
    pitch_factor: float = 1.0  # about y
    yaw_factor: float = 1.0  # about z
    # Further factors for tracked faces, in the order of the axes of errors
    tracked_lateral_factor: float = 1.0
    tracked_down_factor: float = 1.0
    tracked_radial_factor: float = 1.0
    tracked_roll_factor: float = 1.0
    tracked_pitch_factor: float = 1.0
    tracked_yaw_factor: float = 1.0

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        """Load the calibration of a folder of networks; the identity if it holds none.

        :raises ValueError: the file is not a calibration.
        """
        file = Path(folder) / CALIBRATION_FILE
        if not file.exists():
            return cls()
        names = [field.name for field in fields(cls)]
        try:
            values = read_json(file)
            numbers = {name: float(values[name]) for name in names
                       if name in values or not name.endswith(FACTOR)}
            if not np.isfinite(list(numbers.values())).all():
                raise ValueError(f'found {numbers}')
            if min(getattr(cls(**numbers), name) for name in names if name.endswith(FACTOR)) <= 0:
                raise ValueError(f'found {numbers}: factors are positive')
            return cls(**numbers)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f'{file}: expected the numbers {", ".join(names)}; write it anew with '
                             f'`python -m training calibrate` ({one_line(error)})') from error

    def save(self, folder: Path, **notes) -> None:
        """Write the calibration to a folder of networks, with notes on its origin."""
        (folder / CALIBRATION_FILE).write_text(json.dumps(asdict(self) | notes, indent=2) + '\n')

    def std(self, rotation_std: np.ndarray, position_std: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return calibrated sigmas, rad and m (N,) each, from the refiner's."""
        return (self.rotation_scale * rotation_std ** self.rotation_power,
                self.position_scale * position_std ** self.position_power)

    def axis_std(self, rotation_std: np.ndarray, position_std: np.ndarray,
                 tracked: np.ndarray | bool = False) -> np.ndarray:
        """Return one sigma (..., 6) along the axes of errors, m and rad, from calibrated sigmas.

        :param tracked: (...) whether the candidate of a face came from a track.
        """
        both = np.stack([position_std, rotation_std], axis=-1)
        std = both.repeat(3, axis=-1) * self._axis_factors
        return np.where(np.asarray(tracked)[..., None], std * self._tracked_factors, std)

    @cached_property
    def _axis_factors(self) -> np.ndarray:
        return np.array([self.lateral_factor, self.lateral_factor * self.down_factor,
                         self.radial_factor, self.roll_factor, self.pitch_factor, self.yaw_factor])

    @cached_property
    def _tracked_factors(self) -> np.ndarray:
        return np.array([getattr(self, field.name) for field in fields(self)
                         if field.name.startswith(TRACKED)])

    def confidence(self, detector_score: np.ndarray, confidence: np.ndarray,
                   rotation_std: np.ndarray) -> np.ndarray:
        """Return the probability (N,) of a face from the outputs (N,) of detector and pose network.

        Logistic regression on the log odds of both, and on the log of the predicted sigma of
        rotation in rad, which is large where there is no face:

            log odds = bias + a log_odds(score) + b log_odds(confidence) - c log(rotation_std)
        """
        odds = (self.bias + self.detector_weight * log_odds(detector_score)
                + self.confidence_weight * log_odds(confidence)
                - self.doubt_weight * np.log(rotation_std))
        return probability(odds)


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Return the log odds of probabilities, clipped by MIN_PROBABILITY."""
    probability = np.clip(probability, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    return np.log(probability / (1 - probability))


def probability(log_odds: np.ndarray) -> np.ndarray:
    """Return probabilities of log odds: the inverse of :func:`log_odds`."""
    return 1 / (1 + np.exp(-log_odds))
