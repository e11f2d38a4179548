# SPDX-License-Identifier: Apache-2.0
"""Files that describe the camera of images beside them."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.errors import reading
from depthface_ros.io.text_files import read_json, read_yaml

CAMERA_FILES = ('camera.json', 'camera.yaml', 'camera.yml', 'intrinsics.json', 'intrinsics.yaml',
                'camera_info.yaml')
EXPECTED = 'expected fx, fy, cx and cy, K or a camera_matrix'


def camera_file_beside(file: Path) -> Path | None:
    """Return the camera file in the folder of an image, if there is one."""
    beside = (file.parent / name for name in CAMERA_FILES)
    return next((candidate for candidate in beside if candidate.is_file()), None)


def read_camera_file(file: str | Path) -> Intrinsics:
    """Read JSON or YAML with fx, fy, cx, cy, with K, or as ROS's camera_calibration writes it.

    :raises ValueError: it is none of these; the text gives file and cause.
    """
    with reading(str(file)):
        values = read_json(file) if Path(file).suffix == '.json' else read_yaml(file)
        try:
            intrinsics = _intrinsics(values)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ValueError(EXPECTED) from error
        intrinsics.check()
        return intrinsics


def _intrinsics(values: dict) -> Intrinsics:
    if 'camera_matrix' in values:
        values = {'K': values['camera_matrix']['data'], **values,
                  'distortion': values.get('distortion_coefficients', {}).get('data', ())}
    if 'K' in values:
        four = focal_and_centre(np.ravel(values['K']))
    else:
        four = [values[name] for name in ('fx', 'fy', 'cx', 'cy')]
    return Intrinsics(*map(float, four), tuple(map(float, values.get('distortion', ()))),
                      values.get('distortion_model', 'plumb_bob'))


def focal_and_centre(k: np.ndarray) -> list[float]:
    """Return fx, fy, cx, cy of these four numbers or of a matrix K.

    :raises IndexError: they are fewer.
    """
    k = np.ravel(k)
    return (k if k.size == 4 else k[[0, 4, 2, 5]]).tolist()
