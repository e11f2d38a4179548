# SPDX-License-Identifier: Apache-2.0
"""Read folders as of Pandora (Borghi et al., CVPR 2017): 16-bit PNGs and head poses.

Expected here, since the data set asks for a licence and could not be looked at: a folder per
sequence, in which images end in `_DEPTH.png` (or stand in `DEPTH/`), millimetres, and a table
`angles.csv` has a line `frame, pitch, yaw, roll` or `frame, pitch, yaw, roll, x, y, z` for each:
the number in the image's name, degrees x-y'-z'' as in :mod:`training.adapt.datasets.biwi`, metres of the
head's centre. Without x, y, z a head has a rotation and no position, and its position is NaN.
Folders whose name starts alike up to the first `_` are of one person. The camera comes from a
camera.json beside the images or above them, or else it is a Kinect v2 with 512x424 pixels.
"""
from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from depthface_ros.io.camera_files import CAMERA_FILES, read_camera_file
from depthface_ros.io.camera_info import intrinsics_from_camera_info
from depthface_ros.io.frame import Frame
from depthface_ros.io.recordings import open_recording
from training.adapt.datasets import Labelled

KINECT_2 = (365.0, 365.0, 255.5, 211.5)
KINECT_2_SHAPE = (424, 512)


class Pandora:
    """All frames that the tables of a folder's sequences name."""

    def __init__(self, path: Path):
        """:raises ValueError: there is no sequence in the folder."""
        self._sequences = sorted(file.parent for file in path.rglob('angles.csv'))
        if not self._sequences:
            raise ValueError(f'{path}: expected sequences, each a folder with an angles.csv and '
                             'with depth images *_DEPTH.png or DEPTH/*.png')
        self._root = path
        self.people = tuple(sorted({person_of(folder) for folder in self._sequences}))

    def __iter__(self) -> Iterator[Labelled]:
        for folder in self._sequences:
            images = {int(re.findall(r'\d+', file.stem)[-1]): file
                      for file in sorted(folder.rglob('*'))
                      if re.search(r'\d+(_depth)?\.png$', file.name, re.IGNORECASE)
                      and ('depth' in file.name.lower() or file.parent.name.lower() == 'depth')}
            for number, pose in read_table(folder / 'angles.csv').items():
                if number not in images:
                    raise ValueError(f'{folder}/angles.csv names frame {number}, but there is no '
                                     'such depth image')
                yield Labelled(self._frame(images[number], folder), person_of(folder), pose)

    def _frame(self, file: Path, folder: Path) -> Frame:
        beside = [place / name for place in (file.parent, folder, self._root)
                  for name in CAMERA_FILES
                  if (place / name).is_file()]
        frame = next(iter(open_recording(file, KINECT_2)))
        camera = (intrinsics_from_camera_info(read_camera_file(beside[0]), *frame.depth.shape)
                  if beside else frame.intrinsics)
        if not beside and frame.depth.shape != KINECT_2_SHAPE:
            raise ValueError(f'{file} has {frame.depth.shape} pixels, and a Kinect v2 '
                             f'{KINECT_2_SHAPE}: put a camera.json with fx, fy, cx, cy beside it')
        return Frame(frame.stamp_ns, frame.depth, camera, f'{folder.name}/{file.stem}')


def person_of(folder: Path) -> str:
    """Return the person of a folder: its name up to the first underscore."""
    return folder.name.split('_')[0]


def read_table(file: Path) -> dict[int, np.ndarray]:
    """Return poses (4, 4) by the number of the frame.

    :raises ValueError: a line that is neither a head line nor four or seven finite numbers.
    """
    poses = {}
    with file.open(newline='') as opened:
        for line, row in enumerate(csv.reader(opened), 1):
            cells = [cell.strip() for cell in row if cell.strip()]
            if not cells or (line == 1 and not cells[0].lstrip('-').isdigit()):
                continue
            try:
                numbers = [float(cell) for cell in cells]
            except ValueError:
                numbers = []
            if len(numbers) not in (4, 7) or not np.isfinite(numbers).all():
                raise ValueError(f'{file}, line {line}: {", ".join(cells)}: expected frame, '
                                 'pitch, yaw, roll in degrees, and maybe x, y, z in metres')
            pose = np.eye(4)
            pose[:3, :3] = Rotation.from_euler('XYZ', numbers[1:4], degrees=True).as_matrix()
            pose[:3, 3] = numbers[4:] or np.nan
            poses[int(numbers[0])] = pose
    if not poses:
        raise ValueError(f'{file} holds no poses')
    return poses
