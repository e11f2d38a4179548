# SPDX-License-Identifier: Apache-2.0
"""Recordings of depth images in PNG and .npz files."""
from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.camera_files import (
    CameraInfo,
    camera_file_beside,
    focal_and_centre,
    read_camera_file,
)
from depthface_ros.io.camera_info import intrinsics_from_camera_info
from depthface_ros.io.depth_encodings import in_unit
from depthface_ros.io.errors import one_line, reading, silenced_decoders
from depthface_ros.io.frame import Frame, intrinsics_of
from depthface_ros.io.npz_files import NpzFile
from depthface_ros.io.png import MAX_PIXELS, decode_png
from depthface_ros.io.rejections import Rejections

STEP_NS = 33_333_333  # between images of files, which have no stamps: 30 Hz
MAX_PNG_BYTES = 4 * MAX_PIXELS  # PNG may be a little larger than its pixels


class _Image(NamedTuple):
    depth: np.ndarray
    intrinsics: Intrinsics | None  # None where the file does not hold them
    name: str


class ImageRecording:
    """PNG and .npz files. They have no stamps, so each image stands for itself.

    Images that cannot be read are skipped, counted in `rejections` and reported once per kind.
    """

    stamped = False

    def __init__(self, files: list[Path], intrinsics: tuple[float, ...] | None = None,
                 unit_m: float | None = None):
        self._files, self._given, self._unit_m = files, intrinsics, unit_m
        self._cameras: dict[Path, tuple[Path, CameraInfo]] = {}  # of folders
        self.count: int | None = len(files) if files[0].suffix.lower() == '.png' else None
        self.rejections = Rejections()
        if self.count is not None and not intrinsics:  # a PNG does not hold its camera
            self._camera_of_folder(files[0])

    @property
    def description(self) -> str:
        """What is read, for people."""
        count = len(self._files)
        camera = 'given intrinsics' if self._given else (
            camera_file_beside(self._files[0]) or "each file's own intrinsics")
        return f'{count} {self._files[0].suffix} file{"s" * (count > 1)}, {camera}'

    def __iter__(self) -> Iterator[Frame]:
        read = 0
        for image, file in self._images():
            try:
                depth = in_unit(image.depth, self._unit_m)
                intrinsics = self._camera(image, file, *depth.shape)
            except ValueError as error:
                self.rejections.reject(one_line(error), image.name)
                continue
            yield Frame(read * STEP_NS, depth, intrinsics, image.name)
            read += 1
        self.rejections.require_some(read)

    def _images(self) -> Iterator[tuple[_Image, Path]]:
        for file in self._files:
            try:
                for image in (_png_images if file.suffix.lower() == '.png' else _npz_images)(file):
                    yield image, file
            except Exception as error:  # of zip, zlib, numpy and OpenCV
                self.rejections.reject(one_line(error), str(file))

    def _camera(self, image: _Image, file: Path, height: int, width: int) -> Intrinsics:
        if self._given:
            return intrinsics_of(self._given, height, width)
        if image.intrinsics:
            return image.intrinsics
        camera_file, camera = self._camera_of_folder(file)
        with reading(str(camera_file)):
            return intrinsics_from_camera_info(camera, height, width)

    def _camera_of_folder(self, file: Path) -> tuple[Path, CameraInfo]:
        """Return the camera file of an image, and what it holds."""
        folder = file.parent
        if folder not in self._cameras:
            beside = camera_file_beside(file)
            if beside is None:
                raise ValueError(f'{file} does not say which camera took it: give fx,fy,cx,cy, or '
                                 'put a camera.json with these four numbers beside it')
            self._cameras[folder] = beside, read_camera_file(beside)
        return self._cameras[folder]


def _png_images(file: Path) -> Iterator[_Image]:
    with file.open('rb') as opened:
        content = opened.read(MAX_PNG_BYTES + 1)
    if len(content) > MAX_PNG_BYTES:
        raise ValueError(f'the file has more than {MAX_PNG_BYTES} bytes: no depth image does')
    with silenced_decoders():
        depth = decode_png(content)
    yield _Image(depth, None, file.stem)


def _npz_images(file: Path) -> Iterator[_Image]:
    npz = NpzFile(file)
    name = _depth_array(npz)
    shape = npz.headers[name].shape
    if len(shape) not in (2, 3):
        raise ValueError(f'depth of shape {shape}: expected (H, W) or (N, H, W)')
    count = shape[0] if len(shape) == 3 else 1
    sizes = npz.array('size_hw') if 'size_hw' in npz else None
    k = npz.array('K') if 'K' in npz else None
    for i, depth in enumerate(npz.images(name)):
        if sizes is not None:
            height, width = sizes[i]
            depth = depth[:height, :width]
        if depth.dtype.kind == 'f' or not depth.dtype.isnative:
            depth = depth.astype(np.float32 if depth.dtype.kind == 'f' else np.uint16)
        intrinsics = None
        if k is not None:
            own = k[i] if k.shape in ((count, 4), (count, 3, 3)) else k
            intrinsics = Intrinsics(*map(float, focal_and_centre(own)))
        yield _Image(depth, intrinsics, f'{file.stem}_{i:05d}' if count > 1 else file.stem)


def _depth_array(npz: NpzFile) -> str:
    for name, kind in (('depth_mm', 'u'), ('depth_m', 'f')):
        if name in npz and npz.headers[name].dtype.kind == kind and (
                kind == 'f' or npz.headers[name].dtype.itemsize == 2):
            return name
    found = ', '.join(f'{name} ({header.dtype})' for name, header in npz.headers.items())
    raise ValueError(f'it holds {found or "no arrays"}: expected depth_mm (uint16) or depth_m '
                     '(float)')


def natural_order(path: Path) -> list:
    """Return a sort key with which frame_10 comes after frame_9."""
    return [(int(part), '') if part.isdecimal() else (-1, part)
            for part in re.split(r'(\d+)', path.name)]
