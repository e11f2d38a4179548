# SPDX-License-Identifier: Apache-2.0
"""Files that describe the camera of images beside them, as a camera_info does."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depthface_ros.io.errors import reading
from depthface_ros.io.text_files import read_json, read_yaml_documents

CAMERA_FILES = ('camera.json', 'camera.yaml', 'camera.yml', 'intrinsics.json', 'intrinsics.yaml',
                'intrinsic.json', 'camera_intrinsic.json', 'camera_info.yaml', 'camera_info.yml')
EXPECTED = ('expected fx, fy, cx and cy, K, a camera_matrix, an intrinsic_matrix, or the output '
            'of `ros2 topic echo --once` for a camera_info')


class Region(NamedTuple):
    """A sensor_msgs/RegionOfInterest; zeros for the whole image."""

    x_offset: int = 0
    y_offset: int = 0
    height: int = 0
    width: int = 0


class CameraInfo(NamedTuple):
    """The fields of a sensor_msgs/CameraInfo that describe rays; 0 or empty where not known."""

    width: int
    height: int
    distortion_model: str
    d: np.ndarray
    k: np.ndarray
    p: np.ndarray
    binning_x: int = 0
    binning_y: int = 0
    roi: Region = Region()


def camera_file_beside(file: Path) -> Path | None:
    """Return the camera file in the folder of an image, if there is one.

    Data sets that keep depth images in a folder `depth` have it in the folder above.
    """
    folders = [file.parent]
    if 'depth' in file.absolute().parent.name.lower():
        folders.append(file.parent.parent if file.parent.name else file.absolute().parent.parent)
    beside = (folder / name for folder in folders for name in CAMERA_FILES)
    return next((candidate for candidate in beside if candidate.is_file()), None)


def read_camera_file(file: str | Path) -> CameraInfo:
    """Read JSON or YAML of a camera.

    It holds fx, fy, cx, cy or K; or it is of ROS's camera_calibration (camera_matrix), of Open3D
    (intrinsic_matrix), of librealsense (ppx, ppy), or an echoed camera_info of ROS 1 or 2.

    :raises ValueError: it is none of these; the text gives file and cause.
    """
    with reading(str(file)):
        values = (read_json(file) if Path(file).suffix == '.json'
                  else read_yaml_documents(file)[0])
        try:
            return _camera_info(values)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ValueError(EXPECTED) from error


def _camera_info(values: Mapping) -> CameraInfo:
    size = [int(_first(values, name, f'image_{name}') or 0) for name in ('width', 'height')]
    roi = values.get('roi') or {}
    return CameraInfo(
        *(size if all(size) else (0, 0)),
        str(_first(values, 'distortion_model', 'model') or '').removeprefix('distortion.'),
        _numbers(_first(values, 'd', 'D', 'distortion', 'distortion_coefficients', 'coeffs')),
        _matrix(values), _numbers(_first(values, 'p', 'P', 'projection_matrix')),
        int(values.get('binning_x', 0)), int(values.get('binning_y', 0)),
        Region(*(int(roi.get(name, 0)) for name in Region._fields)))


def _matrix(values: Mapping) -> np.ndarray:
    """Return the nine numbers of the camera matrix, row by row."""
    if 'intrinsic_matrix' in values:  # Open3D writes it column by column
        return _numbers(values['intrinsic_matrix']).reshape(3, 3).T.ravel()
    k = _first(values, 'k', 'K', 'camera_matrix')
    if k is None:
        fx, fy = values['fx'], values['fy']
        cx, cy = _first(values, 'cx', 'ppx'), _first(values, 'cy', 'ppy')
    else:
        fx, fy, cx, cy = focal_and_centre(_numbers(k))
    return _numbers([fx, 0, cx, 0, fy, cy, 0, 0, 1])


def _first(values: Mapping, *names: str):
    return next((values[name] for name in names if name in values), None)


def _numbers(value) -> np.ndarray:
    value = value['data'] if isinstance(value, Mapping) else value
    return np.ravel(() if value is None else value).astype(float)


def focal_and_centre(k: np.ndarray) -> list[float]:
    """Return fx, fy, cx, cy of these four numbers or of a matrix K.

    :raises IndexError: they are fewer.
    """
    k = np.ravel(k)
    return (k if k.size == 4 else k[[0, 4, 2, 5]]).tolist()
