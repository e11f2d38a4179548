# SPDX-License-Identifier: Apache-2.0
"""Lens distortion: directions to where a lens bends them, and back.

Directions are (x, y) of (x, y, 1); a lens maps them to (x_d, y_d), which the camera matrix maps to
pixels. The models are those of OpenCV (calib3d and fisheye, 'Detailed Description').
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from depthface_ros.geometry.arrays import namespace
from depthface_ros.io.quoting import quoted

DISTORTION_MODELS = ('plumb_bob', 'rational_polynomial', 'equidistant')
ALIASES = {'radtan': 'plumb_bob', 'brown_conrady': 'plumb_bob', 'opencv': 'plumb_bob',
           '': 'plumb_bob', 'none': 'plumb_bob', 'pinhole': 'plumb_bob',
           'rational': 'rational_polynomial', 'fisheye': 'equidistant',
           'kannala_brandt': 'equidistant', 'kannala_brandt4': 'equidistant', 'kb4': 'equidistant'}
MAX_COEFFICIENTS = {'plumb_bob': 8, 'rational_polynomial': 8, 'equidistant': 4}
MAX_SLOPE = 20.0  # of a viewing ray: 87 degrees off axis
MAX_COEFFICIENT = 1e6  # calibrations stay far below; powers of slopes stay within float32
NEWTON_STEPS = 20  # at most; lenses take 3 to 6
TOLERANCE = 1e-7  # of a distorted direction: 0.0001 px at a focal length of 1000 px
_LIMIT_SAMPLES = 4096


@dataclass(frozen=True)
class Lens:
    """A lens with distortion.

    :param coefficients: as in a ROS `camera_info.D`: k1 k2 p1 p2 k3 k4 k5 k6, or k1 k2 k3 k4 of an
        equidistant lens; missing ones are 0.
    :param model: one of `DISTORTION_MODELS`.
    """

    coefficients: tuple[float, ...]
    model: str

    def distort(self, x, y):
        """Return where the lens bends directions: arrays of any one shape, numpy or torch.

        Beyond `limit` the radial factor stays what it is there, so nothing folds back.
        """
        radial, _ = self._radial(x * x + y * y, namespace(x))
        if self.model == 'equidistant':
            return x * radial, y * radial
        p1, p2 = self._all[2:4]
        return (x * radial + 2 * p1 * x * y + p2 * (3 * x * x + y * y),
                y * radial + p1 * (x * x + 3 * y * y) + 2 * p2 * x * y)

    def jacobian(self, x, y):
        """Return the derivatives dx_d/dx, dx_d/dy, dy_d/dx and dy_d/dy."""
        radial, slope = self._radial(x * x + y * y, namespace(x))  # and its derivative by r^2
        xx, xy, yy = radial + 2 * slope * x * x, 2 * slope * x * y, radial + 2 * slope * y * y
        if self.model == 'equidistant':
            return xx, xy, xy, yy
        p1, p2 = self._all[2:4]
        xy = xy + 2 * (p1 * x + p2 * y)
        return xx + 2 * p1 * y + 6 * p2 * x, xy, xy, yy + 6 * p1 * y + 2 * p2 * x

    def undistort(self, x_d: np.ndarray, y_d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the directions that the lens bends to these, NaN where there are none.

        Newton's method on float64 numpy arrays of one shape.
        """
        x, y = np.array(x_d, float), np.array(y_d, float)
        with np.errstate(all='ignore'):  # directions without a solution may run away
            for _ in range(NEWTON_STEPS):
                bent_x, bent_y = self.distort(x, y)
                error_x, error_y = bent_x - x_d, bent_y - y_d
                solved = np.maximum(np.abs(error_x), np.abs(error_y)) < TOLERANCE
                if solved.all():
                    break
                step_x, step_y = self.inverse_jacobian_times(x, y, error_x, error_y)
                # A step no longer than the direction keeps Newton from overshooting.
                length = np.hypot(step_x, step_y)
                size = np.minimum(1, (0.5 + np.hypot(x, y)) / np.maximum(length, 1e-30))
                x, y = x - size * step_x, y - size * step_y
            exists = solved & self.covers(x, y)
        return np.where(exists, x, np.nan), np.where(exists, y, np.nan)

    def inverse_jacobian_times(self, x, y, d_x, d_y):
        """Return the steps of directions (x, y) that move bent directions by (d_x, d_y)."""
        xx, xy, yx, yy = self.jacobian(x, y)
        determinant = xx * yy - xy * yx
        xp = namespace(x)
        determinant = xp.where(determinant > 1e-9, determinant, 1e-9 * xp.ones_like(determinant))
        return (yy * d_x - xy * d_y) / determinant, (xx * d_y - yx * d_x) / determinant

    def covers(self, x, y):
        """Return whether directions lie within the limit of the model."""
        return x * x + y * y <= self.limit ** 2

    @cached_property
    def limit(self) -> float:
        """The slope up to which bent directions move outwards with directions, at most 20.

        Beyond it a polynomial folds back, and calibrations do not hold.
        """
        r = np.tan(np.linspace(0, np.arctan(MAX_SLOPE), _LIMIT_SAMPLES))
        with np.errstate(all='ignore'):
            bent = r * self._polynomial(r * r, namespace(r))[0]
            outwards = np.diff(bent) > 0
        return float(r[-1] if outwards.all() else r[np.argmin(outwards)])

    @cached_property
    def _all(self) -> tuple[float, ...]:
        return (*self.coefficients, *[0.0] * 8)[:8]

    def _radial(self, r2, xp):
        """Return the radial factor of squared slopes and its derivative by them."""
        limit = self.limit ** 2
        factor, slope = self._polynomial(r2.clip(None, limit), xp)
        return factor, xp.where(r2 < limit, slope, xp.zeros_like(slope))

    def _polynomial(self, r2, xp):
        if self.model == 'equidistant':
            return self._equidistant(r2, xp)
        k1, k2, _, _, k3, k4, k5, k6 = self._all
        above = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        below = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        factor = above / below
        slope = ((k1 + r2 * (2 * k2 + r2 * (3 * k3)))
                 - factor * (k4 + r2 * (2 * k5 + r2 * (3 * k6)))) / below
        return factor, slope

    def _equidistant(self, r2, xp):
        k1, k2, k3, k4 = self._all[:4]
        r = xp.sqrt(r2.clip(1e-12))
        theta = xp.atan(r)
        t2 = theta * theta
        bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
        growth = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * (9 * k4))))
        factor = bent / r
        slope = (growth / (1 + r2) - factor) / (2 * r * r)
        return factor, xp.where(r2 > 1e-6, slope, (k1 - 1 / 3) * xp.ones_like(slope))


def lens_model(name: str) -> str:
    """Return the model of `DISTORTION_MODELS` that a name means; ValueError for others."""
    plain = name.strip(' \0').lower().replace(' ', '_').replace('-', '_')
    plain = ALIASES.get(plain, plain)
    if plain not in DISTORTION_MODELS:
        raise ValueError(f'distortion model {quoted(name)} is not supported: expected one of '
                         f'{", ".join(DISTORTION_MODELS)}; rectify the image, or calibrate with '
                         'one of them')
    return plain


def checked_coefficients(coefficients: tuple[float, ...], model: str) -> tuple[float, ...]:
    """Return the coefficients of a model that count; ValueError if they cannot be its own."""
    if not all(abs(value) <= MAX_COEFFICIENT for value in coefficients):  # NaN is not, either
        raise ValueError(f'distortion coefficients {quoted(list(coefficients[:8]))}: expected '
                         'finite numbers, or zeros for a rectified image; is the camera '
                         'calibrated?')
    most = MAX_COEFFICIENTS[model]
    if any(coefficients[most:]):
        raise ValueError(f'{len(coefficients)} distortion coefficients of model {model}: at most '
                         f'{most} are supported (no thin prism, no tilt): rectify the image, or '
                         'calibrate without them')
    return coefficients[:most]
