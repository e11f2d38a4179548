# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras with lens distortion: from depth images to points and back.

Everything works on numpy arrays and on torch tensors alike, through the array API.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np

from depthface_ros.geometry.arrays import device_of, namespace
from depthface_ros.io.quoting import quoted

DISTORTION_MODELS = ('plumb_bob', 'rational_polynomial', 'equidistant')
NEAREST = 1e-3  # m; a camera sees nothing nearer, nor what is behind it
MAX_SLOPE = 20.0  # of a viewing ray; beyond 87 degrees off axis the intrinsics must be wrong
FARTHEST = 1e3  # m; no camera measures as far, and sums of squares stay finite
NO_DEPTH = 65535  # of uint16: 'no measurement' of some cameras, as 0 is of all


@dataclass(frozen=True)
class Intrinsics:
    """The intrinsics of a depth camera, in pixels; pixel (u, v) has its centre at exactly (u, v).

    `distortion` holds the coefficients of a ROS `camera_info.D`; leave it empty for a rectified
    image. A batch of undistorted cameras is one Intrinsics whose fields are arrays that broadcast.
    """

    fx: Any
    fy: Any
    cx: Any
    cy: Any
    distortion: tuple[float, ...] = ()
    distortion_model: str = 'plumb_bob'

    def __post_init__(self):
        if self.distortion and self.distortion_model not in DISTORTION_MODELS:
            raise ValueError(f'distortion model {quoted(self.distortion_model)} is not supported: '
                             f'expected one of {", ".join(DISTORTION_MODELS)}')
        if any(self.distortion) != bool(self.distortion):
            object.__setattr__(self, 'distortion', ())  # all zero: a rectified image

    def check(self) -> None:
        """Raise ValueError unless this is one camera with finite, positive focal lengths."""
        values = (self.fx, self.fy, self.cx, self.cy)
        if not all(np.isfinite(value) for value in values) or self.fx <= 0 or self.fy <= 0:
            raise ValueError(f'intrinsics fx, fy, cx, cy = {values} are not those of a camera: '
                             'expected finite numbers with fx > 0 and fy > 0; is the camera calibrated?')

    def project(self, x, y):
        """Pixel coordinates u, v of the direction (x, y, 1): arrays of any one shape."""
        if self.distortion:
            x, y = _distort(x, y, self.distortion, self.distortion_model)
        return self.fx * x + self.cx, self.fy * y + self.cy

    def unproject(self, u, v, size: tuple[int, int] | None = None):
        """The direction (x, y, 1) of integer pixels u, v that lie in the image: returns x, y.

        Distorted cameras look the direction up in a ray map that is computed once per image size:
        (height, width), or None to see from u and v, for which a GPU must wait.
        """
        if not self.distortion:
            return (u - self.cx) / self.fx, (v - self.cy) / self.fy
        xp = namespace(u)
        height, width = size or (int(xp.max(v)) + 1, int(xp.max(u)) + 1)
        # rounded up, so that crops of one camera share one map
        rays = _resident_ray_map(self, -(-height // 256) * 256, -(-width // 256) * 256, xp,
                                 device_of(u))
        index = _index(u, v, rays.shape[1])
        found = xp.take(xp.reshape(rays, (-1, 2)), xp.reshape(index, (-1,)), axis=0)
        found = xp.reshape(found, (*index.shape, 2))
        return found[..., 0], found[..., 1]


def depth_in_metres(depth):
    """Pixels of a depth image as float32 metres, 0 where there is no measurement.

    :param depth: of any shape, uint16 millimetres (0 invalid), or float32 metres (invalid where
        not finite or <= 0), as REP-118 says. numpy or torch.
    :raises ValueError: another dtype.
    """
    xp = namespace(depth)
    if depth.dtype == xp.uint16:
        return xp.astype(depth, xp.float32) * 0.001
    if depth.dtype == xp.float32:
        return xp.where((depth > 0) & (depth < FARTHEST), depth, xp.zeros_like(depth))
    raise ValueError(f'depth image of dtype {depth.dtype}: expected uint16 (millimetres) or '
                     'float32 (metres)')


def measured_points(depth, intrinsics: Intrinsics, points):
    """What a depth image holds where points project to: the points of the nearest pixels.

    Interpolating would invent points between a face and what is behind it.

    :param depth: (H, W), or (N, H, W) with an image for each of N, as in :func:`depth_in_metres`.
    :param points: (N, 3, P) float32 metres, camera frame, all finite.
    :returns: (N, 3, P) float32 metres, camera frame; 0 where nothing is measured.
    """
    xp = namespace(points)
    height, width = depth.shape[-2:]
    x, y, z = (points[:, i:i + 1] for i in range(3))
    # methods: the array API's clip for torch waits for the GPU
    before = z.clip(NEAREST)
    u, v = intrinsics.project(x / before, y / before)
    u, v = xp.round(u), xp.round(v)
    column, row = u.clip(0, width - 1), v.clip(0, height - 1)
    inside = (u == column) & (v == row) & (z == before)
    pixel = _index(column, row, width)
    if depth.ndim == 3:
        image = xp.arange(points.shape[0], device=device_of(points))
        pixel = pixel + (height * width) * image[:, None, None]
    depth_m = depth_in_metres(xp.reshape(depth, (-1,))[pixel]) * xp.astype(inside, xp.float32)
    # of the pixel's own centre: the point is exact
    x, y = intrinsics.unproject(column, row, (height, width))
    return xp.concat([x * depth_m, y * depth_m, depth_m], axis=1)


def depth_around(depth, intrinsics: Intrinsics, points):
    """What the four pixels hold around which points project, each for itself.

    :param depth: (H, W), as in :func:`depth_in_metres`.
    :param points: (N, 3, P) float32 metres, camera frame, all finite.
    :returns: metres (N, 2, 2, P) float32, 0 where nothing is measured; rays x (N, 1, 2, P) and
        y (N, 2, 1, P) of the pixels, of undistorted cameras, or all (N, 2, 2, P); and how near each
        pixel is: (N, 2, 2, P), with a sum of 1 inside the image, as in bilinear interpolation.
    """
    xp = namespace(points)
    height, width = depth.shape
    z = points[:, 2].clip(NEAREST)
    goal = xp.stack(intrinsics.project(points[:, 0] / z, points[:, 1] / z), axis=1)[:, :, None]
    last, steps = _last_pair(height, width, xp, device_of(points))
    pixels = xp.minimum(xp.floor(goal).clip(0), last) + steps  # (N, 2, 2, P): u and v, of two each
    near = (1 - xp.abs(goal - pixels)).clip(0)
    near = near[:, 1, :, None] * near[:, 0, None]
    column, row = pixels[:, 0, None], pixels[:, 1, :, None]
    depth_m = depth_in_metres(xp.reshape(depth, (-1,))[_index(column, row, width)])
    return depth_m, *intrinsics.unproject(column, row, (height, width)), near


@cache  # a few bytes a size, which CUDA graphs may hold on to
def _last_pair(height: int, width: int, xp, device):
    """The first of the last two pixels (2, 1, 1), u and v, and steps (2, 2, 1) from it to both."""
    last = xp.asarray([max(width - 2, 0), max(height - 2, 0)], dtype=xp.float32, device=device)
    steps = xp.asarray([[0, min(width - 1, 1)], [0, min(height - 1, 1)]], dtype=xp.float32,
                       device=device)
    return last[:, None, None], steps[..., None]


def point_map(depth_m, intrinsics: Intrinsics, first: int = 0, stride: int = 1, axis: int = -1):
    """Back-project a depth image: points (H, W, 3) float32, metres, camera frame; 0 if invalid.

    :param depth_m: (H, W) float32 metres; where it is a strided view of a larger image, `first`
        and `stride` say which pixels of that image it holds: first + k * stride on both axes.
    :param axis: of x, y and z in what is returned.
    """
    xp = namespace(depth_m)
    device = device_of(depth_m)
    height, width = depth_m.shape
    columns = xp.arange(width, dtype=xp.float32, device=device) * stride + first
    rows = xp.arange(height, dtype=xp.float32, device=device) * stride + first
    size = first + (height - 1) * stride + 1, first + (width - 1) * stride + 1
    x, y = intrinsics.unproject(columns[None, :], rows[:, None], size)
    return xp.stack([x * depth_m, y * depth_m, depth_m], axis=axis)


@lru_cache(maxsize=8)
def ray_map(intrinsics: Intrinsics, height: int, width: int) -> np.ndarray:
    """Directions (x, y, 1) of all pixels of one camera: (H, W, 2) float32 with x and y."""
    u, v = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    goal = np.stack([(u - intrinsics.cx) / intrinsics.fx, (v - intrinsics.cy) / intrinsics.fy])
    rays = goal
    with np.errstate(all='ignore'):  # beyond the image a lens model may have no ray
        for _ in range(60):  # lenses that ROS drivers report need 5 to 30 to reach 1e-6
            rays = rays + goal - _distort(*rays, intrinsics.distortion, intrinsics.distortion_model)
        return np.moveaxis(rays, 0, -1).astype(np.float32)


@lru_cache(maxsize=8)
def _resident_ray_map(intrinsics: Intrinsics, height: int, width: int, xp, device):
    return xp.asarray(ray_map(intrinsics, height, width), device=device)


def _index(column, row, width: int):
    """Places of pixels, float32 and whole, in a flat image."""
    xp = namespace(column)
    # by way of 32 bits, which take a quarter of the time
    index = xp.astype(row, xp.int32) * width + xp.astype(column, xp.int32)
    return xp.astype(index, xp.int64)


def _distort(x, y, distortion: tuple[float, ...], model: str):
    """Apply the lens model of OpenCV (calib3d, 'Detailed Description') to directions (x, y, 1)."""
    xp = namespace(x)
    r2 = x * x + y * y
    if model == 'equidistant':
        k1, k2, k3, k4 = (*distortion, 0, 0, 0, 0)[:4]
        r = xp.sqrt(r2)
        theta = xp.atan(r)
        t2 = theta * theta
        theta_d = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
        scale = xp.where(r > 1e-8, theta_d / xp.where(r > 1e-8, r, xp.ones_like(r)), xp.ones_like(r))
        return x * scale, y * scale
    k1, k2, p1, p2, k3, k4, k5, k6 = (*distortion, *[0] * 8)[:8]
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    return (x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y)


def check_camera(depth: np.ndarray, intrinsics: Intrinsics) -> Intrinsics:
    """Raise ValueError unless this is one image, and these can be the intrinsics of its camera.

    :returns: the same numbers as Python floats, for numpy's would turn float32 arrays to float64.
    """
    if getattr(depth, 'ndim', None) != 2 or 0 in depth.shape:
        raise ValueError(f'depth image of shape {np.shape(depth)}: expected (height, width), both '
                         'at least 1')
    intrinsics.check()
    height, width = depth.shape
    slopes = (intrinsics.cx / intrinsics.fx, (width - intrinsics.cx) / intrinsics.fx,
              intrinsics.cy / intrinsics.fy, (height - intrinsics.cy) / intrinsics.fy)
    if max(map(abs, slopes)) > MAX_SLOPE:
        raise ValueError(
            f'intrinsics fx={intrinsics.fx:g} fy={intrinsics.fy:g} cx={intrinsics.cx:g} '
            f'cy={intrinsics.cy:g} do not fit a depth image of {width}x{height} pixels: expected '
            'those of the depth camera, in pixels of this image')
    numbers = {name: getattr(intrinsics, name) for name in ('fx', 'fy', 'cx', 'cy')}
    if all(type(number) is float for number in numbers.values()):
        return intrinsics
    return replace(intrinsics, **{name: float(number) for name, number in numbers.items()})
