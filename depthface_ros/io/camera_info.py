# SPDX-License-Identifier: Apache-2.0
"""A sensor_msgs/CameraInfo, of ROS or read from a bag, as Intrinsics; without ROS."""
from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from depthface_ros.geometry.camera import MAX_FOCAL_LENGTH, Intrinsics
from depthface_ros.io.compressed_depth import raw_topic
from depthface_ros.io.frame import frame_name

EDGE = 0.05  # of the image: a principal point nearer to a border is of another image size
# Principal points that are off centre by more, and by the same part of both axes, are, too.
OFF_CENTRE, SAME_OFFSET = 0.12, 0.04
# Focal lengths: at least so many shorter sides of the image, at most so many longer ones. Others
# are in millimetres, or of no image.
FOCAL_RANGE = 0.1, 20.0
MAX_DECIMATION = 8  # to every so many pixels on both axes


class _Window(NamedTuple):
    """The part of the calibrated image that an image holds, in pixels of the former."""

    x_offset: int
    y_offset: int
    step_x: int  # pixels of the calibrated image in one pixel
    step_y: int


def is_rectified(image_topic: str) -> bool:
    """Return whether a topic is named as ROS names rectified images: image_rect, image_rect_raw."""
    name = raw_topic(image_topic).rpartition('/')[-1]
    return re.search(r'(?<![a-zA-Z])rect|Rect', name) is not None


def is_other_frame(info_frame: str, image_frame: str) -> bool:
    """Return whether a camera_info names another frame than its images."""
    return bool(info_frame) and frame_name(info_frame) != frame_name(image_frame)


def intrinsics_from_camera_info(info, height: int, width: int,
                                rectified: bool = False) -> Intrinsics:
    """Return the intrinsics of a depth image of this size, as its camera_info describes them.

    Images of a lens without distortion, and rectified ones, follow P; raw ones K and D. Only the
    matrix that is used must be right. K and P describe the calibrated image; binning and region of
    interest describe what the image holds of it, and so does an image that is an integer fraction
    of its size. P's fourth column and R only relate the camera to others: depth needs neither.

    :param info: anything with the message's fields, spelt as in ROS 2 (k, d, p) or 1 (K, D, P).
    :param rectified: the image was rectified, whatever D describes.
    :raises ValueError: the camera is not calibrated, or the image has another size.
    """
    k, d, p = (np.asarray(getattr(info, name, getattr(info, name.upper(), ())), float)
               for name in ('k', 'd', 'p'))
    raw = bool(d.any()) and not rectified
    if raw and not np.isfinite(d).all():
        raise ValueError('camera_info has NaN or infinity in D: expected the coefficients of the '
                         'lens, zeros for none; check the calibration')
    matrices = {'P': p[[0, 5, 2, 6]] if p.size == 12 else None,
                'K': k[[0, 4, 2, 5]] if k.size == 9 else None}
    if raw or not p.size:
        del matrices['P']
    window = _window(info, height, width)
    size = info.width or width, info.height or height
    faults = {name: _fault(matrix, *size) for name, matrix in matrices.items()}
    name = next((name for name, fault in faults.items() if not fault), None)
    if name is None:
        reasons = '; '.join(f'{name} {fault}' for name, fault in faults.items())
        raise ValueError(f'camera_info has no calibration for this image: {reasons}; check the '
                         'camera driver')
    fx, fy, cx, cy = matrices[name].tolist()
    # Pixel i of the image is the mean of pixels x_offset + i * step_x and so on.
    return Intrinsics(fx / window.step_x, fy / window.step_y,
                      (cx - window.x_offset + 0.5) / window.step_x - 0.5,
                      (cy - window.y_offset + 0.5) / window.step_y - 0.5,
                      *((tuple(d.tolist()), info.distortion_model) if raw else ()))


def _window(info, height: int, width: int) -> _Window:
    """Return what an image of this size holds of the calibrated one; ValueError if nothing fits."""
    roi, full = info.roi, (info.width, info.height)
    binning = max(1, info.binning_x), max(1, info.binning_y)
    region = roi.width or full[0], roi.height or full[1]
    offset = (roi.x_offset, roi.y_offset) if roi.width and roi.height else (0, 0)
    if not any(region) or _fits((width, height), region, binning):
        return _Window(*offset, *binning)  # as defined
    if (width, height) == full:
        return _Window(0, 0, 1, 1)
    for size, start in ((region, offset), (full, (0, 0))):  # decimated afterwards
        step = round(size[0] / width)
        if 1 < step <= MAX_DECIMATION and _fits((width, height), size, (step, step)):
            return _Window(*start, step, step)
    expected = region[0] // binning[0], region[1] // binning[1]
    if (height, width) == expected:
        raise ValueError(f'camera_info is for {expected[0]}x{expected[1]} pixels, the depth image '
                         f'has {width}x{height}: it was turned by a quarter; expected the image '
                         'as the camera sends it, or a camera_info that was turned with it')
    raise ValueError(f'camera_info is for {expected[0]}x{expected[1]} pixels, the depth image '
                     f'has {width}x{height}: expected the camera_info of the depth stream, not '
                     'that of the colour camera')


def _fits(size: tuple[int, int], whole: tuple[int, int], step: tuple[int, int]) -> bool:
    """Return whether an image is a whole one divided by steps, rounded down or up."""
    return all(pixels in (total // by, -(-total // by))
               for pixels, total, by in zip(size, whole, step))


def _fault(matrix: np.ndarray | None, width: int, height: int) -> str:
    """Return why fx, fy, cx, cy are not those of an image of this size; '' if they are."""
    if matrix is None or not matrix.any():
        return 'is zero or missing, expected focal lengths > 0'
    fx, fy, cx, cy = matrix.tolist()
    shown = f'has fx={fx:g} fy={fy:g} cx={cx:g} cy={cy:g}'
    if not (np.isfinite(matrix).all() and np.abs(matrix).max() < MAX_FOCAL_LENGTH):
        return f'{shown}, expected finite numbers below {MAX_FOCAL_LENGTH:g}'
    if fx <= 0 or fy <= 0:
        return f'{shown}, expected focal lengths > 0'
    low, high = FOCAL_RANGE
    if min(fx, fy) < low * min(width, height) or max(fx, fy) > high * max(width, height):
        return (f'{shown}, expected focal lengths in pixels, {low:g} to {high:g} times the sides '
                f'of {width}x{height} pixels')
    across, down = cx / width, cy / height
    if (not (EDGE <= across <= 1 - EDGE and EDGE <= down <= 1 - EDGE)
            or (abs(across - 0.5) > OFF_CENTRE and abs(across - down) < SAME_OFFSET)):
        return (f'{shown}, expected a principal point near the middle of {width}x{height} pixels; '
                'it may be of another image size')
    return ''
