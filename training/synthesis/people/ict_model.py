# SPDX-License-Identifier: Apache-2.0
"""ICT-FaceKit (Li et al. 2020), a morphable head of scans, and its map to the mesh that ships."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthface_ros.face_model.mesh import EXPRESSION_NAMES
from training.assets.correspondence import openings, register, without_rings
from training.synthesis.surface_points import SurfacePoints

# ICT's axes are x to the subject's left, y up, z out of the face.
FACE_AXES_FROM_ICT = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.float32)
SKIN_VERTICES = 11248
# From here on: thin surfaces of lashes and tears, which a depth camera does not measure.
VISIBLE_VERTICES = 24591
# Rings of triangles behind the visible edge of lips and lids.
RINGS_BEHIND = LIPS, RIGHT_LIDS, LEFT_LIDS = 6, 2, 2


@dataclass(frozen=True, eq=False)
class IctModel:
    """Mean head, identity modes and ARKit expressions; N = 24,591 vertices.

    mean:       (N, 3) float32, metres, the face frame's axes, origin at the mean's sellion
    identity:   (100, N, 3) float32, metres per standard deviation
    expression: (52, N, 3) float32, metres, in the order of EXPRESSION_NAMES; zero where ICT has
    none (tongueOut)
    triangles:  (T, 3) int32; skin (T', 3), only face, head, neck and collar
    landmarks:  (68,) vertices of the iBUG landmarks
    """

    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray

    @classmethod
    def load(cls, folder: str | Path) -> IctModel:
        """Read `ict_facekit_light_cm.npz` and `vertex_indices.json` beside it, by the file or its folder."""
        folder = Path(folder)
        folder = folder.parent if folder.is_file() else folder
        with np.load(folder / 'ict_facekit_light_cm.npz') as file:
            arrays = dict(file)
        indices = json.loads((folder / 'vertex_indices.json').read_text())
        landmarks = indices['idx_to_landmark_verts']

        def metres(centimetres):
            visible = centimetres[..., :VISIBLE_VERTICES, :].astype(np.float32)
            return visible @ FACE_AXES_FROM_ICT.T * 0.01

        mean = metres(arrays['base'])
        own = dict(zip(arrays['expr_names'].tolist(), metres(arrays['expression'])))
        triangles = arrays['tri'][(arrays['tri'] < VISIBLE_VERTICES).all(1)]
        return cls(mean - mean[landmarks[27]], metres(arrays['identity']),
                   np.stack([arkit_expression(name, own) for name in EXPRESSION_NAMES]),
                   triangles.astype(np.int32), np.array(landmarks))

    @property
    def skin(self) -> np.ndarray:
        return self.triangles[(self.triangles < SKIN_VERTICES).all(1)]


def arkit_expression(name: str, own: dict[str, np.ndarray]) -> np.ndarray:
    """Return ICT's displacement (N, 3) for ARKit's name: eyeBlinkLeft is eyeBlink_L; halves add up."""
    for candidate in (name, name.replace('Left', '_L').replace('Right', '_R')):
        if candidate in own:
            return own[candidate]
    if f'{name}_L' in own:
        return own[f'{name}_L'] + own[f'{name}_R']
    return np.zeros_like(next(iter(own.values())))


def face_on_ict(ict: IctModel, vertices: np.ndarray, triangles: np.ndarray, sellion: int,
                ) -> tuple[np.ndarray, SurfacePoints]:
    """Register the face mesh (V, 3), (T, 3) to ICT's mean head.

    Returns the bent face (V, 3), in metres where ICT's mean head is, and its vertices as points of
    ICT's skin.
    """
    mean = ict.mean.astype(np.float64)
    skin = ict.skin
    for loop, rings in zip(openings(mean, skin), RINGS_BEHIND):
        skin = without_rings(skin, loop, rings)
    loops, targets = openings(vertices, triangles), openings(mean, skin)
    corners = [(loop[0], loop[vertices[loop, 1].argmax()]) for loop in loops]
    corner_targets = [(loop[0], loop[mean[loop, 1].argmax()]) for loop in targets]
    anchors = np.array([sellion, vertices[:, 0].argmax(), *np.ravel(corners)])
    anchor_targets = np.array([ict.landmarks[27], ict.landmarks[30], *np.ravel(corner_targets)])
    return register(vertices, triangles, mean, skin, anchors, mean[anchor_targets])
