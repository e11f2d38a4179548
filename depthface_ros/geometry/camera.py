# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras with lens distortion: from depth images to points and back.

Everything works on numpy arrays and on torch tensors alike, through the array API.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np

from depthface_ros.compiled import in_order, takes
from depthface_ros.compiled import pixels as loops
from depthface_ros.geometry.arrays import device_of, namespace
from depthface_ros.geometry.lens import MAX_SLOPE, Lens, checked_coefficients, lens_model
from depthface_ros.io.quoting import quoted

NEAREST = 1e-3  # m; nearer points, and points behind the camera, are not visible
FARTHEST = 1e3  # m; no camera measures as far, and sums of squares stay finite
NO_DEPTH = 65535  # of uint16: 'no measurement' of some cameras, as 0 is of all
MAX_FOCAL_LENGTH = 1e9  # px; slopes and pixels stay within float32
MIN_COVERAGE = 0.5  # of an image, by the lens model


@dataclass(frozen=True)
class Intrinsics:
    """The intrinsics of a depth camera, in pixels; pixel (u, v) has its centre at exactly (u, v).

    `distortion` holds the coefficients of a ROS `camera_info.D`, in any sequence; leave it empty
    for a rectified image. Numbers of Python and numpy count alike. A batch of undistorted cameras
    is one Intrinsics whose fields are arrays that broadcast.

    :raises ValueError: an unknown lens model, or coefficients that are not those of a lens.
    """

    fx: Any
    fy: Any
    cx: Any
    cy: Any
    distortion: tuple[float, ...] = ()
    distortion_model: str = 'plumb_bob'

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        for name in ('fx', 'fy', 'cx', 'cy'):
            value = getattr(self, name)
            # numpy's numbers would turn float32 arrays to float64
            if isinstance(value, int | np.generic) or type(value) is np.ndarray and not value.ndim:
                put(name, float(value))
        distortion = () if self.distortion is None else self.distortion
        distortion = tuple(float(value) for value in np.ravel(distortion))
        if any(distortion):
            put('distortion_model', lens_model(self.distortion_model))
            distortion = checked_coefficients(distortion, self.distortion_model)
        put('distortion', distortion if any(distortion) else ())  # all zero: a rectified image

    @property
    def is_plain(self) -> bool:
        """Whether this is one camera without distortion: compiled loops take no others."""
        return not self.distortion and type(self.fx) is float

    @cached_property
    def _lens(self) -> Lens:
        return Lens(self.distortion, self.distortion_model)

    def check(self) -> None:
        """Raise ValueError unless this is one camera with finite, positive focal lengths."""
        values = (self.fx, self.fy, self.cx, self.cy)
        if not all(isinstance(value, float) or np.ndim(value) == 0 for value in values):
            raise ValueError('intrinsics are arrays: expected those of one camera, numbers')
        if not (all(map(math.isfinite, values))
                and 0 < self.fx < MAX_FOCAL_LENGTH and 0 < self.fy < MAX_FOCAL_LENGTH):
            raise ValueError(f'intrinsics fx, fy, cx, cy = {values} are not those of a camera: '
                             f'expected finite numbers, fx and fy above 0 and below '
                             f'{MAX_FOCAL_LENGTH:g}; is the camera calibrated?')

    def project(self, x, y):
        """Return pixel coordinates u, v of directions (x, y, 1): arrays of any one shape."""
        if self.distortion:
            x, y = self._lens.distort(x, y)
        return self.fx * x + self.cx, self.fy * y + self.cy

    def unproject(self, u, v):
        """Return the directions (x, y, 1) of pixel coordinates as x, y; NaN where there is none.

        A lens without distortion takes arrays that broadcast and leaves them so. The rays of a
        distorted one are computed on the host, in float64, to 0.0001 px.
        """
        if not self.distortion:
            return (u - self.cx) / self.fx, (v - self.cy) / self.fy
        xp, device = namespace(u), device_of(u)
        u, v = np.broadcast_arrays(*(np.asarray(pixel.cpu() if hasattr(pixel, 'cpu') else pixel,
                                                np.float64) for pixel in (u, v)))
        rays = self._lens.undistort((u - self.cx) / self.fx, (v - self.cy) / self.fy)
        return tuple(xp.asarray(ray.astype(np.float32), device=device) for ray in rays)

    def rays_beside(self, x, y, u, v, column, row):
        """Return the directions of pixels (column, row) at most one pixel from (u, v).

        To first order about the direction (x, y, 1), which projects to (u, v): no table of rays is
        needed. Steps longer than a pixel are cut: such pixels are outside of the image.
        """
        if not self.distortion:
            return self.unproject(column, row)
        step_x, step_y = self._lens.inverse_jacobian_times(
            x, y, (column - u).clip(-1, 1) / self.fx, (row - v).clip(-1, 1) / self.fy)
        return x + step_x, y + step_y

    def covers(self, x, y):
        """Return 1 where the lens has a pixel for a direction, else 0: float32 of their shape."""
        xp = namespace(x)
        if not self.distortion:
            return xp.ones_like(x)
        return xp.astype(self._lens.covers(x, y), xp.float32)


def depth_in_metres(depth):
    """Convert pixels of a depth image to float32 metres, 0 where there is no measurement.

    :param depth: of any shape, numpy or torch: uint16 millimetres (0 and 65535 invalid), or
        float32 metres (invalid where not finite, <= 0 or >= 1000), as in REP-118.
    :raises ValueError: another dtype.
    """
    xp = namespace(depth)
    if depth.dtype == xp.uint16:
        depth = xp.astype(depth, xp.float32)
        return depth * xp.astype(depth < NO_DEPTH, xp.float32) * 0.001
    if depth.dtype == xp.float32:
        return xp.where((depth > 0) & (depth < FARTHEST), depth, xp.zeros_like(depth))
    raise ValueError(f'depth image of dtype {depth.dtype}: expected uint16 (millimetres) or '
                     'float32 (metres)')


def measured_points(depth, intrinsics: Intrinsics, points):
    """Return the measured points of the pixels nearest to where points project.

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
    x, y = x / before, y / before
    u, v = intrinsics.project(x, y)
    nearest_u, nearest_v = xp.round(u), xp.round(v)
    column, row = nearest_u.clip(0, width - 1), nearest_v.clip(0, height - 1)
    inside = (nearest_u == column) & (nearest_v == row) & (z == before)
    pixel = _index(column, row, width)
    if depth.ndim == 3:
        image = xp.arange(points.shape[0], device=device_of(points))
        pixel = pixel + (height * width) * image[:, None, None]
    depth_m = depth_in_metres(xp.reshape(depth, (-1,))[pixel]) * xp.astype(inside, xp.float32)
    if intrinsics.distortion:
        depth_m = depth_m * intrinsics.covers(x, y)
    # of the pixel's own centre: the point is exact
    x, y = intrinsics.rays_beside(x, y, u, v, column, row)
    return xp.concat([x * depth_m, y * depth_m, depth_m], axis=1)


def depth_around(depth, intrinsics: Intrinsics, points):
    """Return what each of the four pixels around the projection of points measures.

    :param depth: (H, W), as in :func:`depth_in_metres`.
    :param points: (N, 3, P) float32 metres, camera frame, all finite.
    :returns: metres (N, 2, 2, P) float32, 0 where nothing is measured; rays x (N, 1, 2, P) and
        y (N, 2, 1, P) of the pixels, of undistorted cameras, or all (N, 2, 2, P); and bilinear
        weights (N, 2, 2, P), with a sum of 1 inside the image.
    """
    if takes(points) and intrinsics.is_plain:
        return loops.depth_around(*pixels_of(depth, intrinsics), np.float32(NEAREST),
                                   in_order(points))
    xp = namespace(points)
    height, width = depth.shape
    z = points[:, 2].clip(NEAREST)
    x, y = points[:, 0] / z, points[:, 1] / z
    goal = xp.stack(intrinsics.project(x, y), axis=1)[:, :, None]
    last, steps = _last_pair(height, width, xp, device_of(points))
    pixels = xp.minimum(xp.floor(goal).clip(0), last) + steps  # (N, 2, 2, P): u and v, of two each
    near = (1 - xp.abs(goal - pixels)).clip(0)
    near = near[:, 1, :, None] * near[:, 0, None]
    column, row = pixels[:, 0, None], pixels[:, 1, :, None]
    depth_m = depth_in_metres(xp.reshape(depth, (-1,))[_index(column, row, width)])
    if intrinsics.distortion:
        near = near * intrinsics.covers(x, y)[:, None, None]
    rays = intrinsics.rays_beside(x[:, None, None], y[:, None, None], goal[:, 0, :, None],
                                  goal[:, 1, :, None], column, row)
    return depth_m, *rays, near


def pixels_of(depth: np.ndarray, intrinsics: Intrinsics):
    """Return an image, the unit and the limit of its numbers, and its camera, for compiled loops.

    :returns: the image as a read-only array in C order, metres per number, the number from which
        on there is no measurement, and (4,) fx, fy, cx, cy; float32.
    :raises ValueError: an image of another dtype than :func:`depth_in_metres` takes.
    """
    if depth.dtype == np.uint16:
        unit, limit = 0.001, NO_DEPTH
    elif depth.dtype == np.float32:
        unit, limit = 1, FARTHEST
    else:
        depth_in_metres(depth)  # raises
    image = np.ascontiguousarray(depth).view()
    image.flags.writeable = False  # one type for all images, as the compiler sees it
    return image, np.float32(unit), np.float32(limit), _camera_array(intrinsics)


@lru_cache(maxsize=8)
def _camera_array(intrinsics: Intrinsics) -> np.ndarray:
    return np.array([intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy], np.float32)


@cache  # a few bytes a size, which CUDA graphs may hold on to
def _last_pair(height: int, width: int, xp, device):
    """The first of the last two pixels (2, 1, 1), u and v, and steps (2, 2, 1) from it to both."""
    last = xp.asarray([max(width - 2, 0), max(height - 2, 0)], dtype=xp.float32, device=device)
    steps = xp.asarray([[0, min(width - 1, 1)], [0, min(height - 1, 1)]], dtype=xp.float32,
                       device=device)
    return last[:, None, None], steps[..., None]


def point_map(depth_m, intrinsics: Intrinsics, first: int = 0, stride: int = 1, axis: int = -1):
    """Back-project a depth image to points (H, W, 3) float32, metres, camera frame; 0 if invalid.

    :param depth_m: (H, W) float32 metres; where it is a strided view of a larger image, `first`
        and `stride` say which pixels of that image it holds: first + k * stride on both axes.
    :param axis: of x, y and z in what is returned.
    """
    xp = namespace(depth_m)
    device = device_of(depth_m)
    height, width = depth_m.shape
    if intrinsics.distortion:
        x, y, exists = _rays(intrinsics, first, stride, height, width, xp, device)
        depth_m = depth_m * exists
    else:
        columns, rows = (xp.arange(count, dtype=xp.float32, device=device) * stride + first
                         for count in (width, height))
        x, y = intrinsics.unproject(columns[None, :], rows[:, None])
    return xp.stack([x * depth_m, y * depth_m, depth_m], axis=axis)


@lru_cache(maxsize=8)  # a few kilobytes each: the head detector samples a coarse grid
def _rays(intrinsics: Intrinsics, first: int, stride: int, height: int, width: int, xp, device):
    """Return directions x, y of a grid of pixels of a distorted camera, and which exist."""
    columns, rows = np.arange(width) * stride + first, np.arange(height) * stride + first
    x, y = intrinsics.unproject(columns[None, :], rows[:, None])
    exists = np.isfinite(x)
    return tuple(xp.asarray(values.astype(np.float32), device=device) for values in (
        np.where(exists, x, 0), np.where(exists, y, 0), exists))


def _index(column, row, width: int):
    """Return indices into a flat image of whole pixels (float32)."""
    xp = namespace(column)
    # by way of 32 bits, which take a quarter of the time
    index = xp.astype(row, xp.int32) * width + xp.astype(column, xp.int32)
    return xp.astype(index, xp.int64)


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
    if intrinsics.distortion:
        _check_lens(intrinsics, height, width)
    numbers = {name: getattr(intrinsics, name) for name in ('fx', 'fy', 'cx', 'cy')}
    if all(type(number) is float for number in numbers.values()):
        return intrinsics
    return replace(intrinsics, **{name: float(number) for name, number in numbers.items()})


@lru_cache(maxsize=8)
def _check_lens(intrinsics: Intrinsics, height: int, width: int) -> None:
    """Raise ValueError where most of an image is beyond what its lens model describes."""
    x, _ = intrinsics.unproject(np.linspace(0, width - 1, 17)[None],
                                np.linspace(0, height - 1, 17)[:, None])
    covered = float(np.isfinite(x).mean())
    if covered < MIN_COVERAGE:
        raise ValueError(
            f'distortion coefficients {quoted(list(intrinsics.distortion))} give viewing rays to '
            f'{100 * covered:.0f} % of the image: expected those of this camera and image size')
