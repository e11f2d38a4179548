# SPDX-License-Identifier: Apache-2.0
"""The packaged face mesh: shape, triangles, landmarks, symmetry, regions, expression names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from depthface_ros.io.errors import reading
from depthface_ros.io.npz_files import read_arrays

# ARKit's ARFaceAnchor.BlendShapeLocation, in the order of Apple's documentation: eyes, jaw, mouth,
# brows, cheeks, nose, tongue.
EXPRESSION_NAMES = (
    'eyeBlinkLeft', 'eyeLookDownLeft', 'eyeLookInLeft', 'eyeLookOutLeft', 'eyeLookUpLeft',
    'eyeSquintLeft', 'eyeWideLeft',
    'eyeBlinkRight', 'eyeLookDownRight', 'eyeLookInRight', 'eyeLookOutRight', 'eyeLookUpRight',
    'eyeSquintRight', 'eyeWideRight',
    'jawForward', 'jawLeft', 'jawRight', 'jawOpen',
    'mouthClose', 'mouthFunnel', 'mouthPucker', 'mouthLeft', 'mouthRight',
    'mouthSmileLeft', 'mouthSmileRight', 'mouthFrownLeft', 'mouthFrownRight',
    'mouthDimpleLeft', 'mouthDimpleRight', 'mouthStretchLeft', 'mouthStretchRight',
    'mouthRollLower', 'mouthRollUpper', 'mouthShrugLower', 'mouthShrugUpper',
    'mouthPressLeft', 'mouthPressRight', 'mouthLowerDownLeft', 'mouthLowerDownRight',
    'mouthUpperUpLeft', 'mouthUpperUpRight',
    'browDownLeft', 'browDownRight', 'browInnerUp', 'browOuterUpLeft', 'browOuterUpRight',
    'cheekPuff', 'cheekSquintLeft', 'cheekSquintRight',
    'noseSneerLeft', 'noseSneerRight',
    'tongueOut',
)

# REP-155 landmarks (68 iBUG points, then the two pupils): landmark i of the mirrored face is
# LANDMARK_MIRROR[i].
LANDMARK_MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
     45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
     54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
     64, 63, 62, 61, 60, 67, 66, 65, 69, 68], np.int32)


def mirrored_name(name: str) -> str:
    """Return the expression of the other side of the face: eyeBlinkLeft for eyeBlinkRight."""
    for side, other in (('Left', 'Right'), ('Right', 'Left')):
        if name.endswith(side):
            return name.removesuffix(side) + other
    return name


@dataclass(frozen=True, eq=False)
class FaceModel:
    """Topology and average shape of the face mesh, in the face frame.

    The face frame (REP-155) has its origin at the sellion, x out of the face, y to the person's
    left and z to the scalp. x is the gaze direction of eyes that look straight ahead, as in
    ICT-FaceKit's heads.

    template:          (V, 3) float32, metres, an average adult; template[sellion] is the origin
    triangles:         (T, 3) int32, counter-clockwise seen from outside; eyes and lips are
                       openings
    landmark_vertices: (70, 3) int32 and landmark_weights (70, 3) float32: barycentric landmarks
    mirror:            (V,) int32, an involution: vertex i mirrored in the plane y = 0 is vertex
                       mirror[i]
    stable:            (S,) int32, vertices that expressions hardly move; they define the face
                       frame of a person
    sellion:           vertex at the origin
    regions:           name -> int32 vertex indices
    """

    template: np.ndarray
    triangles: np.ndarray
    landmark_vertices: np.ndarray
    landmark_weights: np.ndarray
    mirror: np.ndarray
    stable: np.ndarray
    sellion: int
    regions: dict[str, np.ndarray]
    expression_names: tuple[str, ...] = EXPRESSION_NAMES

    @classmethod
    @cache
    def load(cls) -> FaceModel:
        """Return the model of this package. It is loaded once; its arrays are read-only.

        :raises ValueError: the file is damaged.
        """
        file = Path(str(files('depthface_ros') / 'models' / 'face_model.npz'))
        with reading(str(file)):
            arrays = read_arrays(file)
            regions = {key.removeprefix('region_'): array for key, array in arrays.items()
                       if key.startswith('region_')}
            names = ('template', 'triangles', 'landmark_vertices', 'landmark_weights', 'mirror',
                     'stable')
            model = cls(**{name: arrays[name] for name in names}, sellion=int(arrays['sellion']),
                        regions=regions)
            model.check()
        return model

    def check(self) -> None:
        """Raise ValueError unless the arrays fit together."""
        vertices = len(self.template)
        indices = (self.triangles, self.landmark_vertices, self.mirror, self.stable,
                   np.int32(self.sellion), *self.regions.values())
        fits = (self.template.shape == (vertices, 3) and self.template.dtype == np.float32
                and np.isfinite(self.template).all() and np.isfinite(self.landmark_weights).all()
                and self.triangles.shape[1:] == self.landmark_vertices.shape[1:] == (3,)
                and self.landmark_weights.shape == self.landmark_vertices.shape
                and self.mirror.shape == (vertices,)
                and all(array.dtype == np.int32 and array.min() >= 0 and array.max() < vertices
                        for array in indices))
        if not fits:
            raise ValueError('its arrays do not fit together: the file is damaged; install the '
                             'package again')

    @property
    def expression_mirror(self) -> np.ndarray:
        """Return (52,) int32: expression i is expression_mirror[i] of the mirrored face."""
        names = self.expression_names
        return np.array([names.index(mirrored_name(name)) for name in names], np.int32)

    def landmarks(self, vertices):
        """Return the landmarks of a mesh in this topology.

        vertices: (..., V, 3) numpy array in any frame and unit.
        Returns (..., 70, 3) in the same frame and unit.
        """
        corners = vertices[..., self.landmark_vertices.ravel(), :]
        corners = corners.reshape(*vertices.shape[:-2], *self.landmark_vertices.shape, 3)
        return (corners * self.landmark_weights[..., None]).sum(-2)
