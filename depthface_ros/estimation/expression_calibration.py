# SPDX-License-Identifier: Apache-2.0
"""Calibration and reliability of expression coefficients, by the distance of the face."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthface_ros.compiled import features as loops
from depthface_ros.compiled import takes
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel
from depthface_ros.geometry.arrays import namespace
from depthface_ros.io.errors import one_line
from depthface_ros.io.text_files import read_json

EXPRESSION_CALIBRATION_FILE = 'expression_calibration.json'  # beside the networks it belongs to
ROWS = ('slope', 'offset', 'reliability')


@dataclass(frozen=True, eq=False)
class ExpressionCalibration:
    """Linear calibration of coefficients c at D distances, and what it explains of their variance.

        calibrated c = offset + slope * c

    A coefficient that depth does not show has slope, offset and reliability 0: it stays at rest.

    distances: (D,) float32 m from camera to face, ascending; between them values are interpolated
    slope, offset: (D, 52) float32, slope in 0..1
    reliability: (D, 52) float32 in 0..1, explained variance in single images
    """

    distances: np.ndarray
    slope: np.ndarray
    offset: np.ndarray
    reliability: np.ndarray

    @classmethod
    def identity(cls) -> ExpressionCalibration:
        """Return the calibration that changes nothing, for networks that have none."""
        one = np.ones((1, len(EXPRESSION_NAMES)), np.float32)
        return cls(np.ones(1, np.float32), one, 0 * one, one)

    @classmethod
    def load(cls, folder: str | Path) -> ExpressionCalibration:
        """Load the calibration of a folder of networks; the identity if it holds none.

        :raises ValueError: the file is not a calibration.
        """
        file = Path(folder) / EXPRESSION_CALIBRATION_FILE
        if not file.exists():
            return cls.identity()
        try:
            values = read_json(file)
            distances = np.array(values['distances_m'], np.float32)
            coefficients = [values['coefficients'][name] for name in EXPRESSION_NAMES]
            arrays = [np.array([row[key] for row in coefficients], np.float32).T for key in ROWS]
            calibration = cls(distances, *arrays)
            calibration.check()
            return calibration
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(
                f'{file}: expected ascending distances_m, and lists {", ".join(ROWS)} of that '
                f'length for each of the {len(EXPRESSION_NAMES)} coefficients; write it anew with '
                f'`python -m training calibrate` ({one_line(error)})') from error

    def save(self, folder: Path, **notes) -> None:
        """Write the calibration to a folder of networks, with notes on its origin."""
        columns = {key: np.round(getattr(self, key).astype(float), 4).T.tolist() for key in ROWS}
        coefficients = {name: {key: columns[key][i] for key in ROWS}
                        for i, name in enumerate(EXPRESSION_NAMES)}
        lines = ',\n'.join(f'    "{name}": {json.dumps(row)}' for name, row in coefficients.items())
        head = json.dumps({'distances_m': self.distances.astype(float).round(3).tolist()} | notes,
                          indent=2)[:-2]
        (folder / EXPRESSION_CALIBRATION_FILE).write_text(
            f'{head},\n  "coefficients": {{\n{lines}\n  }}\n}}\n')

    def check(self) -> None:
        """Raise ValueError unless the arrays fit together and are in their ranges."""
        shape = (len(self.distances), len(EXPRESSION_NAMES))
        arrays = (self.slope, self.offset, self.reliability)
        if not (len(self.distances) and self.distances.ndim == 1
                and (np.diff(self.distances) > 0).all()
                and all(array.shape == shape and (np.abs(array) <= 1).all() for array in arrays)
                and (self.slope >= 0).all() and (self.reliability >= 0).all()):
            raise ValueError('found arrays of other shapes or ranges')

    def reliability_at(self, distance_m: float) -> np.ndarray:
        """Return the explained variance (52,) of each coefficient in one image at a distance."""
        return np.array([np.interp(distance_m, self.distances, column)
                         for column in self.reliability.T], np.float32)

    def never_shown(self) -> tuple[str, ...]:
        """Return the names of coefficients that depth shows at no distance."""
        shown = (self.slope > 0).any(axis=0)
        return tuple(name for name, seen in zip(EXPRESSION_NAMES, shown) if not seen)


class CalibratedExpressions:
    """Apply a calibration to expressions; numpy or torch, as `constant` makes arrays."""

    def __init__(self, calibration: ExpressionCalibration, constant: Callable = np.asarray):
        """Prepare tables (D, 52) made alike for a face and its mirror image."""
        mirror = FaceModel.load().expression_mirror
        tables = [(table + table[:, mirror]) / 2 for table in (
            calibration.slope, calibration.offset, calibration.reliability)]
        values = np.stack(tables, axis=1).reshape(len(calibration.distances), -1)  # (D, 3 * 52)
        self._first, self._steps = constant(values[0]), constant(np.diff(values, axis=0))
        gaps = np.diff(calibration.distances)
        self._nodes, self._gaps = constant(calibration.distances[:-1]), constant(gaps)

    def __call__(self, expression, distance):
        """Return calibrated expressions (N, 52) and their reliability (N, 52), both in 0..1.

        :param expression: (N, 52) in 0..1. :param distance: (N,) m from the camera.
        """
        if takes(expression):
            return loops.calibrated(expression, distance, self._nodes, self._gaps, self._first,
                                    self._steps)
        xp = namespace(expression)
        part = ((distance[:, None] - self._nodes) / self._gaps).clip(0, 1)  # (N, D - 1)
        values = self._first + xp.matmul(part, self._steps)
        slope, offset, reliability = (
            values[:, i * expression.shape[1]:(i + 1) * expression.shape[1]] for i in range(3))
        return (offset + slope * expression).clip(0, 1), reliability + 0 * expression
