# SPDX-License-Identifier: Apache-2.0
"""The raw bytes of a ROS depth image as an array, without a copy and without ROS."""

from __future__ import annotations

import numpy as np

# REP-118: the encoding alone decides the unit.
DTYPES = {'16UC1': np.dtype('uint16'),   # millimetres, 0 invalid
          'mono16': np.dtype('uint16'),  # the same, as some drivers label it
          '32FC1': np.dtype('float32')}  # metres, invalid where not finite or <= 0


def depth_image(data, encoding: str, height: int, width: int, step: int,
                is_bigendian: bool = False) -> np.ndarray:
    """View the fields of a sensor_msgs/Image as a depth image.

    :param data: the pixels, any object with a contiguous buffer (bytes, array.array, uint8 array).
    :param step: bytes from one row to the next; rows may be padded.
    :returns: (height, width) uint16 millimetres or float32 metres in native byte order. It shares
        memory with `data`, and its rows may be padded, unless bytes had to be swapped.
    :raises ValueError: a field that no depth image can have; the text says what was found, what
        was expected and what to do.
    """
    dtype = DTYPES.get(encoding)
    if dtype is None:
        raise ValueError(f'encoding {encoding!r} is not a depth image: expected '
                         f'{", ".join(DTYPES)}; listen to the raw depth topic of the camera, not '
                         'to colour or infrared')
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
    return image if image.dtype.isnative else image.astype(dtype)


def median_depth(depth: np.ndarray) -> float | None:
    """The median of the valid pixels of a depth image in metres, or None if there is none.

    :param depth: (H, W) uint16 millimetres or float32 metres; a sparse grid of it is tried first.
    """
    for stride in (16, 1):
        sample = depth[::stride, ::stride]
        valid = sample[np.isfinite(sample) & (sample > 0)]
        if valid.size:
            middle = valid.size // 2  # the node asks for each image, and np.median takes long
            return float(np.partition(valid, middle)[middle]) * (
                0.001 if depth.dtype == np.uint16 else 1.0)
    return None
