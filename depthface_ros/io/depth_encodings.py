# SPDX-License-Identifier: Apache-2.0
"""The raw bytes of a ROS depth image as an array, without ROS: encodings, units, 'no depth'."""

from __future__ import annotations

import math
import re

import numpy as np

from depthface_ros.geometry.camera import NO_DEPTH

# REP-118: the encoding decides the unit. These need no conversion.
DTYPES = {'16UC1': np.dtype('uint16'),   # millimetres, 0 invalid
          'mono16': np.dtype('uint16'),  # the same, as some drivers label it
          '32FC1': np.dtype('float32')}  # metres, invalid where not finite or <= 0
SIGNED = {'16SC1': np.dtype('int16'), '32SC1': np.dtype('int32')}  # millimetres, invalid <= 0
MILLIMETRE = 0.001  # m
UNIT_RANGE = 1e-6, 1.0  # m, of `unit_m`
# m, of the median of an image: beyond them the unit must be wrong. Depth cameras measure 0.1 to
# 20 m.
PLAUSIBLE_MEDIAN = 0.05, 50.0
MAX_FLOAT = 1e9  # publishers write 1e10 or FLT_MAX for 'no depth'
_SHOWN = 40  # characters of others' texts

_ADVICE = (
    (r'64fc1$', 'double precision; publish it as 32FC1, in Python with depth.astype(np.float32)'),
    (r'(mono8|8[us]c1)$', '8 bits cannot hold millimetres: this is infrared, a mask or a picture '
     'for display'),
    (r'(rgb|bgr|yuv|nv\d|uyvy|bayer|8[us]c[34])', 'a colour image, or depth that was coloured for '
     'display'),
    (r'\d+[usf]c[2-9]', 'several channels, such as points or flow'),
)


def canonical_encoding(encoding: str) -> str:
    """Return the name of an encoding as in `DTYPES` or `SIGNED`, however it is spelt.

    :raises ValueError: it is not of a depth image; the text gives what it is and what to do.
    """
    plain = encoding.strip(' \0').lower().removeprefix('type_')
    known = {name.lower(): name for name in (*DTYPES, *SIGNED)} | {'z16': '16UC1'}
    found = known.get(plain) or known.get(f'{plain}1')
    if found:
        return found
    advice = next((text for pattern, text in _ADVICE if re.match(pattern, plain)), 'unknown')
    raise ValueError(f'encoding {encoding[:_SHOWN]!r} is not a depth image ({advice}): expected '
                     f'{", ".join((*DTYPES, *SIGNED))}; listen to the raw depth topic of the '
                     'camera')


def is_depth_encoding(encoding: str) -> bool:
    """Return whether images of this encoding are depth images."""
    try:
        return bool(canonical_encoding(encoding))
    except ValueError:
        return False


def depth_image(data, encoding: str, height: int, width: int, step: int,
                is_bigendian: bool = False, unit_m: float | None = None) -> np.ndarray:
    """View the fields of a sensor_msgs/Image as a depth image.

    :param data: the pixels, any object with a contiguous buffer (bytes, array.array, uint8 array).
    :param step: bytes from one row to the next; rows may be padded.
    :param unit_m: metres per unit of the pixels, where it is not that of the encoding.
    :returns: (height, width) uint16 millimetres or float32 metres in native byte order. It shares
        memory with `data`, and its rows may be padded, unless bytes had to be swapped or values
        converted.
    :raises ValueError: a field that no depth image can have; the text says what was found, what
        was expected and what to do.
    """
    encoding = canonical_encoding(encoding)
    dtype = (DTYPES | SIGNED)[encoding]
    if height < 1 or width < 1:
        raise ValueError(f'image of {width}x{height} pixels: expected at least 1x1; '
                         'check that the camera streams depth')
    row = width * dtype.itemsize
    if step < row:
        raise ValueError(f'step of {step} bytes for {width} pixels of {encoding}: expected at '
                         f'least {row}; the publisher fills in the message wrongly')
    # The padding of the last row carries nothing, so a buffer without it is complete.
    needed, found = step * (height - 1) + row, memoryview(data).nbytes
    if found < needed:
        raise ValueError(f'{found} bytes of data for {width}x{height} {encoding} with step '
                         f'{step}: expected {step * height}; the message was truncated')
    order = '>' if is_bigendian else '<'
    image = np.ndarray((height, width), dtype.newbyteorder(order), data,
                       strides=(step, dtype.itemsize))
    return in_unit(image if image.dtype.isnative else image.astype(dtype), unit_m)


def in_unit(image: np.ndarray, unit_m: float | None) -> np.ndarray:
    """Convert pixels of a given unit to uint16 millimetres or float32 metres, 0 if invalid.

    :param image: uint16, int16, int32 or float32.
    :param unit_m: metres; None for millimetres of integers and metres of floats.
    :returns: the image itself where nothing is to be converted.
    :raises ValueError: a unit out of range.
    """
    own_unit = 1.0 if image.dtype.kind == 'f' else MILLIMETRE
    if unit_m is not None:
        check_unit(unit_m)
    if unit_m is None or math.isclose(unit_m, own_unit, rel_tol=1e-6):
        if image.dtype.kind == 'i':
            return np.where((image > 0) & (image < NO_DEPTH), image, 0).astype(np.uint16)
        return image
    valid = (image > 0) & np.isfinite(image)
    if image.dtype == np.uint16:
        valid &= image < NO_DEPTH
    return np.where(valid, image, 0).astype(np.float32) * np.float32(unit_m)


def check_unit(unit_m: float) -> float:
    """Return a depth unit in metres; raise ValueError if no camera can have it."""
    if not UNIT_RANGE[0] <= unit_m <= UNIT_RANGE[1]:
        raise ValueError(f'depth unit of {unit_m} m: expected {UNIT_RANGE[0]:g} to '
                         f'{UNIT_RANGE[1]:g}, such as 0.001 for millimetres')
    return unit_m


def median_depth(depth: np.ndarray) -> float | None:
    """Return the median of the valid pixels of a depth image in metres, None if there is none.

    :param depth: (H, W) uint16 millimetres or float32 metres; a sparse grid of it is tried first.
    """
    for stride in (16, 1):
        sample = depth[::stride, ::stride]
        is_float = sample.dtype.kind == 'f'
        # Floats that are millimetres by mistake are valid here: the median shall show the mistake.
        sample = sample[(sample > 0) & (sample < (MAX_FLOAT if is_float else NO_DEPTH))]
        if sample.size:
            middle = sample.size // 2  # np.median takes long for an image of 30 Hz
            return float(np.partition(sample, middle)[middle]) * (1.0 if is_float else MILLIMETRE)
    return None


def unit_problem(median_m: float, encoding: str) -> str | None:
    """Return what looks wrong with the unit of depth images of this median, None if nothing does.

    :param encoding: of the message, for the text.
    """
    low, high = PLAUSIBLE_MEDIAN
    if low <= median_m <= high:
        return None
    return (f'median depth is {round(median_m, 3):g} m in {encoding[:_SHOWN]!r}: expected '
            f'{low:g} to {high:g} m; the unit of the pixels seems to be another: set depth_unit '
            '(metres per unit, such as 0.001 or 0.0001)')
