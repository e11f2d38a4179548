# SPDX-License-Identifier: Apache-2.0
"""A sensor_msgs/CameraInfo, of ROS or read from a bag, as Intrinsics; without ROS."""
from __future__ import annotations

import numpy as np

from depthface_ros.geometry.camera import Intrinsics


def is_rectified(image_topic: str) -> bool:
    """Whether ROS's naming says that images are rectified: image_rect, image_rect_raw, ..."""
    return 'rect' in image_topic.rpartition('/')[-1]


def intrinsics_from_camera_info(info, height: int, width: int,
                                rectified: bool = False) -> Intrinsics:
    """The camera that took a depth image of this size, as its camera_info describes it.

    Images of a lens without distortion, and rectified ones, follow P; raw ones K and D. K and P
    are of the whole sensor: binning and region of interest tell what the image holds of it.

    :param info: anything with the message's fields, spelt as in ROS 2 (k, d, p) or 1 (K, D, P).
    :param rectified: the image was rectified, whatever D says about its lens.
    :raises ValueError: the camera is not calibrated, or the image has another size.
    """
    k, d, p = (np.asarray(getattr(info, name, getattr(info, name.upper(), ())), float)
               for name in ('k', 'd', 'p'))
    roi, binning_x, binning_y = info.roi, max(1, info.binning_x), max(1, info.binning_y)
    expected = ((roi.width or info.width) // binning_x, (roi.height or info.height) // binning_y)
    if any(expected) and expected != (width, height):
        raise ValueError(f'camera_info is for {expected[0]}x{expected[1]} pixels, the depth image '
                         f'has {width}x{height}: expected the camera_info of the depth stream')
    raw = d.any() and not rectified
    if raw and not np.isfinite(d).all():
        raise ValueError('camera_info has NaN or infinity in D: expected the coefficients of the '
                         'lens, zeros for none; check the calibration')
    # Only the matrix that is used must be right: drivers of rectified depth may leave K zero.
    if not raw and p.size == 12 and p[0] > 0:
        matrix = p[[0, 5, 2, 6]]
    elif k.size == 9 and k[0] > 0:
        matrix = k[[0, 4, 2, 5]]
    else:
        raise ValueError('camera_info has no calibration (K is zero'
                         f'{"" if raw else ", and P too"}): expected focal lengths > 0; check the '
                         'camera driver')
    fx, fy, cx, cy = matrix.tolist()
    # Pixel i of the image is the mean of pixels x_offset + i * binning_x and so on of the sensor.
    return Intrinsics(fx / binning_x, fy / binning_y,
                      (cx - roi.x_offset + 0.5) / binning_x - 0.5,
                      (cy - roi.y_offset + 0.5) / binning_y - 0.5,
                      *((tuple(d.tolist()), info.distortion_model) if raw else ()))
