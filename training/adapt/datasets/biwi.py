# SPDX-License-Identifier: Apache-2.0
"""The Biwi Kinect Head Pose Database (Fanelli et al., IJCV 2013), for non-commercial research.

A sequence is a folder `01` to `24` with `depth.cal`, `frame_00003_depth.bin` and
`frame_00003_pose.txt`; a sister folder `db_annotations` may hold the same poses as
`01/frame_00003_pose.bin`. Depth is run-length coded: int32 width and height, then pairs of int32
counts, so many empty pixels and so many that follow as int16 millimetres.

The rotation convention: the matrix R of a pose.txt turns head axes into those of the depth camera
(x right, y down, z forward), as its three rows stand; camera_from_head = [R | c] with the head
centre c in millimetres. The head's axes are the camera's when it faces the camera straight: -z
points out of the face. R = Rx(a) Ry(b) Rz(c) for angles about axes that turn along (x-y'-z''):
b > 0 turns the face to the left of the image, a < 0 lifts it. Scripts that transpose the matrix
and then read pitch = atan2(R32, R33), yaw = -atan2(-R31, |R32, R33|), roll = -atan2(R21, R11) mean
the same angles: pitch = -a, yaw = b, roll = c.
A pose.bin holds six float32: c in millimetres and a, b, c in degrees. Where a frame has both files
they must agree, so a wrong reading of either does not pass; this reading of the .bin was not
checked against the data base itself, which was not at hand.
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from depthface_ros import Intrinsics
from depthface_ros.io.frame import Frame
from training.adapt.datasets import Labelled, pose_from_parts

# Four people were recorded twice, which splits by person must respect.
PEOPLE = ['F01', 'F02', 'F03', 'F04', 'F05', 'F06', 'M01', 'M02', 'M03', 'M04', 'M05', 'M06', 'M07', 'M08', 'F03', 'M09', 'M10', 'F05', 'M11', 'M12', 'F02', 'M01', 'M13', 'M14']
MOST_PIXELS = 4096 * 4096
STEP_NS = 33_333_333


class Biwi:
    """All frames with a pose, of a folder of sequences or of one sequence."""

    def __init__(self, path: Path):
        """:raises ValueError: there is no sequence in the folder."""
        sequences = [path] if (path / 'depth.cal').is_file() else sorted(
            folder for folder in path.iterdir() if (folder / 'depth.cal').is_file())
        if not sequences:
            raise ValueError(f'{path}: expected sequences 01 to 24, each a folder with depth.cal, '
                             'frame_00003_depth.bin and frame_00003_pose.txt')
        self._sequences = sequences
        self.people = tuple(sorted({person_of(folder.name) for folder in sequences}))

    def __iter__(self) -> Iterator[Labelled]:
        for folder in self._sequences:
            camera = read_calibration(folder / 'depth.cal')
            for number, file in enumerate(sorted(folder.glob('frame_*_depth.bin'))):
                pose = find_pose(folder, file.name.removesuffix('_depth.bin'))
                if pose is not None:
                    frame = Frame(number * STEP_NS, read_depth(file), camera,
                                  f'{folder.name}/{file.stem}')
                    yield Labelled(frame, person_of(folder.name), pose)


def person_of(sequence: str) -> str:
    """Return the person of a sequence, as F03 for 15; an unknown folder is a person of its own."""
    known = sequence.isdigit() and 1 <= int(sequence) <= len(PEOPLE)
    return PEOPLE[int(sequence) - 1] if known else sequence


def read_depth(file: Path) -> np.ndarray:
    """Decode a run-length coded depth image: (H, W) uint16 millimetres, 0 invalid.

    :raises ValueError: sizes that cannot be, runs beyond the image, a file that ends early.
    """
    content = file.read_bytes()
    if len(content) < 8:
        raise ValueError(f'{file} holds {len(content)} bytes: expected a width, a height and runs')
    width, height = np.frombuffer(content, '<i4', 2).tolist()
    if width < 1 or height < 1 or width * height > MOST_PIXELS:
        raise ValueError(f'{file}: {width}x{height} pixels: is this a run-length coded image?')
    depth, at, pixel = np.zeros(width * height, '<i2'), 8, 0
    while pixel < depth.size:
        if at + 8 > len(content):
            raise ValueError(f'{file} ends after {pixel} of {depth.size} pixels: was it cut off?')
        empty, full = np.frombuffer(content, '<i4', 2, at).tolist()
        at, start = at + 8, pixel + empty
        pixel = start + full
        if empty < 0 or full < 0 or pixel > depth.size or empty + full == 0:
            raise ValueError(f'{file}: a run of {empty} empty and {full} full pixels does not fit '
                             f'after {start - empty} of {depth.size}')
        if at + 2 * full > len(content):
            raise ValueError(f'{file} ends in the middle of {full} pixels: was it cut off?')
        depth[start:pixel] = np.frombuffer(content, '<i2', full, at)
        at += 2 * full
    if (depth < 0).any():
        raise ValueError(f'{file} holds negative depth')
    return depth.reshape(height, width).astype(np.uint16)


def read_calibration(file: Path) -> Intrinsics:
    """Read the camera of a sequence; the file starts with its 3x3 matrix."""
    numbers = _numbers(file)
    if len(numbers) < 9 or numbers[0] <= 0 or numbers[4] <= 0 or numbers[8] != 1:
        raise ValueError(f'{file}: expected a 3x3 camera matrix in the first three lines')
    return Intrinsics(numbers[0], numbers[4], numbers[2], numbers[5])


def find_pose(folder: Path, frame: str) -> np.ndarray | None:
    """Return camera_from_head (4, 4) m of one frame, from either file, or None.

    :raises ValueError: the two files disagree.
    """
    text = folder / f'{frame}_pose.txt'
    annotations = Path('db_annotations', folder.name)
    places = (folder, folder.parent / annotations, folder.parent.parent / annotations)
    binaries = [file for place in places if (file := place / f'{frame}_pose.bin').is_file()]
    poses = [read_pose_text(text)] if text.is_file() else []
    poses += [read_pose_binary(path) for path in binaries[:1]]
    if len(poses) == 2:
        apart = Rotation.from_matrix(poses[0][:3, :3].T @ poses[1][:3, :3]).magnitude()
        if apart > np.radians(1) or np.abs(poses[0][:3, 3] - poses[1][:3, 3]).max() > 0.002:
            degrees = np.degrees(apart)
            raise ValueError(f'{text} and {binaries[0]} disagree by {degrees:.1f} degrees: one of '
                             'them is broken or of another frame; without the .bin files the .txt '
                             'alone count')
    return poses[0] if poses else None


def read_pose_text(file: Path) -> np.ndarray:
    """Parse three rows of the rotation, an empty line, the head centre in mm."""
    numbers = _numbers(file)
    if len(numbers) != 12:
        raise ValueError(f'{file} holds {len(numbers)} numbers: expected nine of a rotation and '
                         'three of a position')
    return pose_from_parts(np.reshape(numbers[:9], (3, 3)), np.array(numbers[9:]) / 1000,
                           str(file))


def read_pose_binary(file: Path) -> np.ndarray:
    """Parse six float32: the head centre in mm, then degrees about x, y and z."""
    content = file.read_bytes()
    if len(content) != 24:
        raise ValueError(f'{file} holds {len(content)} bytes: expected six float32')
    numbers = np.frombuffer(content, '<f4').astype(np.float64)
    rotation = Rotation.from_euler('XYZ', numbers[3:],
                                   degrees=True) if np.isfinite(numbers).all() else None
    return pose_from_parts(rotation.as_matrix() if rotation else np.full((3, 3), np.nan),
                           numbers[:3] / 1000, str(file))


def _numbers(file: Path) -> list[float]:
    try:
        return [float(word) for word in file.read_text().split()]
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f'{file}: {error}: expected numbers as text') from error
