# SPDX-License-Identifier: Apache-2.0
"""A sensor_msgs/CameraInfo, of ROS or read from a bag, as Intrinsics; without ROS."""
from __future__ import annotations

import numpy as np

from depthface_ros.camera import Intrinsics


def intrinsics_from_camera_info(info, height: int, width: int,
                                rectified: bool = False) -> Intrinsics:
    """The camera that took a depth image of this size, as its camera_info describes it.

    Images of a lens without distortion, and rectified ones, follow P; raw ones K and D.

    :param info: anything with the message's fields, spelt as in ROS 2 (k, d, p) or 1 (K, D, P).
    :param rectified: the image was rectified, whatever D says about its lens.
    :raises ValueError: the camera is not calibrated, or the image has another size.
    """
    k, d, p = (np.asarray(getattr(info, name, getattr(info, name.upper(), ())), float)
               for name in ('k', 'd', 'p'))
    if (info.width or info.height) and (info.width, info.height) != (width, height):
        raise ValueError(f'camera_info is for {info.width}x{info.height} pixels, the depth image '
                         f'has {width}x{height}: expected the camera_info of the depth stream')
    if k.size != 9 or not k[0] > 0:
        raise ValueError('camera_info has no calibration (K is zero): expected focal lengths > 0; '
                         'check the camera driver')
    if (rectified or not d.any()) and p.size == 12 and p[0] > 0:
        fx, fy, cx, cy = p[[0, 5, 2, 6]].tolist()
        return Intrinsics(fx, fy, cx, cy)
    fx, fy, cx, cy = k[[0, 4, 2, 5]].tolist()
    if rectified or not d.any():
        return Intrinsics(fx, fy, cx, cy)
    return Intrinsics(fx, fy, cx, cy, tuple(d.tolist()), info.distortion_model)
