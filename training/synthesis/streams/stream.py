# SPDX-License-Identifier: Apache-2.0
"""One rendered stream: depth images of one camera, and the truth of every person in each of them."""
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from depthface_ros import Intrinsics

VISIBLE = 0.35  # fraction of a face in view that makes it one to be found
MILLIMETRE = 1e-3
ARRAYS = ('stamps_ns', 'depth', 'poses', 'vertices', 'expressions', 'visible', 'identities')


@dataclass(frozen=True, eq=False)
class Stream:
    """N images of (H, W) pixels with P people; lengths in metres.

    depth:       (N, H, W) uint16 in units of `depth_unit`, 0 invalid
    poses:       (N, P, 4, 4) float32, camera_from_face
    vertices:    (N, P, V, 3) float32, the true face mesh in the person's face frame
    expressions: (N, P, 52) float32, ARKit coefficients in 0..1
    visible:     (N, P) float32, fraction of the face's side towards the camera that is in view
    identities:  (P,) int64, one number a person
    distance:    of the script, m; the faces' own are in `poses`
    """

    name: str
    script: str
    camera: str
    family: str
    rate: float  # Hz
    distance: float
    intrinsics: Intrinsics
    depth_unit: float
    stamps_ns: np.ndarray
    depth: np.ndarray
    poses: np.ndarray
    vertices: np.ndarray
    expressions: np.ndarray
    visible: np.ndarray
    identities: np.ndarray

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @property
    def seconds(self) -> np.ndarray:
        """Return the times (N,) since the first image, s."""
        return (self.stamps_ns - self.stamps_ns[0]) * 1e-9

    def image(self, i: int) -> np.ndarray:
        """Return an image as drivers publish it: uint16 mm, or float32 metres if it is finer."""
        if np.isclose(self.depth_unit, MILLIMETRE):
            return self.depth[i]
        return self.depth[i] * np.float32(self.depth_unit)

    def in_view(self, i: int, person: int) -> bool:
        """Return whether a tracker is expected to find this face in this image."""
        towards = -self.poses[i, person, :3, 0] @ self.poses[i, person, :3, 3]
        return bool(self.visible[i, person] > VISIBLE and towards > 0)

    def vertices_camera(self, i: int, person: int) -> np.ndarray:
        """Return the true face mesh (V, 3), metres, camera frame."""
        pose = self.poses[i, person]
        return self.vertices[i, person] @ pose[:3, :3].T + pose[:3, 3]

    def without_images(self) -> Stream:
        """Return the stream with empty images, which need little memory."""
        return replace(self, depth=self.depth[:, :0])

    def save(self, folder: Path) -> None:
        """Write `NAME.npz` and, last, `NAME.json` to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / f'{self.name}.npz', **{name: getattr(self, name) for name in ARRAYS})
        camera = self.intrinsics
        (folder / f'{self.name}.json').write_text(json.dumps(
            {name: getattr(self, name) for name in ('name', 'script', 'camera', 'family', 'rate',
                                                    'distance', 'depth_unit')}
            | {'intrinsics': [camera.fx, camera.fy, camera.cx, camera.cy]}, indent=1) + '\n')

    @classmethod
    def load(cls, file: Path) -> Stream:
        """Read the stream of a `NAME.json`."""
        settings = json.loads(file.read_text())
        settings['intrinsics'] = Intrinsics(*settings['intrinsics'])
        with np.load(file.with_suffix('.npz')) as arrays:
            return cls(**settings, **{name: arrays[name] for name in ARRAYS})


def load_streams(folder: Path | str, pattern: str = '*') -> Iterator[Stream]:
    """Yield the streams of a folder by name, one in memory at a time.

    :raises ValueError: the folder has none.
    """
    files = sorted(Path(folder).glob(f'{pattern}.json'))
    if not files:
        raise ValueError(f'{folder}: there is no stream {pattern}.json; render some with '
                         '`python -m training evaluate --streams --streams-folder FOLDER`')
    for file in files:
        yield Stream.load(file)
