# SPDX-License-Identifier: Apache-2.0
"""Recordings of depth images in PNG and .npz files."""
from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.frame import Frame, intrinsics_of

CAMERA_FILES = ('camera.json', 'camera.yaml', 'camera.yml', 'intrinsics.json', 'intrinsics.yaml',
                'camera_info.yaml')
STEP_NS = 33_333_333  # between images of files, which have no stamps: 30 Hz


class ImageRecording:
    """PNG and .npz files. They have no stamps, so nobody knows whether they belong together."""

    stamped = False

    def __init__(self, files: list[Path], intrinsics: tuple[float, ...] | None = None):
        self._files, self._intrinsics = files, intrinsics
        self.count = len(files) if files[0].suffix.lower() == '.png' else None

    def __iter__(self) -> Iterator[Frame]:
        images = (image for file in self._files for image in self._images(file))
        for i, (depth, camera, name) in enumerate(images):
            yield Frame(i * STEP_NS, depth, camera, name)

    def _images(self, file: Path) -> Iterator[tuple[np.ndarray, Intrinsics, str]]:
        """Depth image, camera and name of each image in a file."""
        if file.suffix.lower() == '.png':
            depth = _read_png(file)
            yield depth, self._camera(file, *depth.shape), file.stem
            return
        depths, arrays = _read_npz(file)
        k = arrays.get('K')
        for i, depth in enumerate(depths):
            if 'size_hw' in arrays:
                height, width = arrays['size_hw'][i]
                depth = depth[:height, :width]
            if k is not None and not self._intrinsics:
                own = k[i] if k.shape in ((len(depths), 4), (len(depths), 3, 3)) else k
                camera = Intrinsics(*(own if own.size == 4 else own.flat[[0, 4, 2, 5]]).tolist())
            else:
                camera = self._camera(file, *depth.shape)
            yield depth, camera, f'{file.stem}_{i:05d}' if len(depths) > 1 else file.stem

    def _camera(self, file: Path, height: int, width: int) -> Intrinsics:
        if self._intrinsics:
            return intrinsics_of(self._intrinsics, height, width)
        beside = [file.parent / name for name in CAMERA_FILES if (file.parent / name).is_file()]
        if not beside:
            raise ValueError(f'{file} does not say which camera took it: give fx,fy,cx,cy, or put '
                             'a camera.json with these four numbers beside it')
        return read_camera_file(beside[0])


def read_camera_file(file: Path) -> Intrinsics:
    """JSON or YAML with fx, fy, cx, cy, with K, or as ROS's camera_calibration writes it."""
    text = file.read_text()
    if file.suffix == '.json':
        values = json.loads(text)
    else:
        from ruamel.yaml import YAML
        values = YAML(typ='safe').load(text)
    try:
        if 'camera_matrix' in values:
            values = {'K': values['camera_matrix']['data'], **values,
                      'distortion': values.get('distortion_coefficients', {}).get('data', ())}
        if 'K' in values:
            k = np.ravel(values['K'])
            four = k if len(k) == 4 else k[[0, 4, 2, 5]]
        else:
            four = [values[name] for name in ('fx', 'fy', 'cx', 'cy')]
        four = [float(value) for value in four]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f'{file}: expected fx, fy, cx and cy, K or a camera_matrix') from error
    return Intrinsics(*four, tuple(map(float, values.get('distortion', ()))),
                      values.get('distortion_model', 'plumb_bob'))


def _read_png(file: Path) -> np.ndarray:
    import cv2
    # not cv2.imread: it says nothing of what is wrong, and fails on some file names
    content = np.fromfile(file, np.uint8)
    image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if len(content) else None
    if image is None:
        raise ValueError(f'{file} does not decode as PNG')
    if image.dtype != np.uint16 or image.ndim != 2:
        raise ValueError(f'{file} holds {image.dtype} of shape {image.shape}: expected 16-bit '
                         'grey, in millimetres')
    return image


def _read_npz(file: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Depth images (N, H, W), uint16 or float32, and all arrays of the file."""
    try:
        with np.load(file, allow_pickle=False) as loaded:
            arrays = dict(loaded)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f'{file} does not load as .npz: {error}') from error
    if 'depth_mm' in arrays and arrays['depth_mm'].dtype == np.uint16:
        depth = arrays['depth_mm']
    elif 'depth_m' in arrays and arrays['depth_m'].dtype.kind == 'f':
        depth = arrays['depth_m'].astype(np.float32)
    else:
        found = ', '.join(f'{name} ({array.dtype})' for name, array in arrays.items())
        raise ValueError(f'{file} holds {found}: expected depth_mm (uint16) or depth_m (float)')
    if depth.ndim not in (2, 3):
        raise ValueError(f'{file}: depth of shape {depth.shape}: expected (H, W) or (N, H, W)')
    return depth.reshape(-1, *depth.shape[-2:]), arrays


def natural_order(path: Path) -> list:
    """Sort key with which frame_10 comes after frame_9."""
    return [(int(part), '') if part.isdigit() else (-1, part)
            for part in re.split(r'(\d+)', path.name)]
