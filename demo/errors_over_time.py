# SPDX-License-Identifier: Apache-2.0
"""A picture of how the errors of published faces change with the time in view."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from score import geodesic_deg

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.tools.over_time import FaceOverTime, draw_over_time, true_distances


class ErrorsOverTime:
    """Collects the errors of each face, image by image, in the order of time."""

    def __init__(self, face_model: FaceModel):
        self._model = face_model
        self._faces: dict[str, FaceOverTime] = {}

    def add(self, seconds: float, faces: dict[str, tuple[np.ndarray, np.ndarray | None]],
            persons: dict[str, str], poses: dict[str, np.ndarray],
            meshes: dict[str, np.ndarray]) -> None:
        """Compare the faces of one image with the ground truth.

        :param persons: id -> person, see :meth:`score.Score.add` for the others.
        """
        for name, person in persons.items():
            (pose, vertices), truth = faces[name], poses[person]
            rotation = geodesic_deg(truth[:3, :3], pose[:3, :3])
            distances = vertices_face = None
            if vertices is not None and person in meshes:
                vertices_face = (vertices - truth[:3, 3]) @ truth[:3, :3]
                distances = true_distances(vertices_face, meshes[person], self._model.triangles)
            surface = np.nan if distances is None else 1000 * float(np.median(np.abs(distances)))
            face = self._faces.setdefault(name, FaceOverTime(name, seconds))
            face.add(seconds, (rotation, surface), vertices_face, distances)

    def write(self, file: Path) -> None:
        """Write the picture; nothing if no face was found."""
        if self._faces:
            picture = draw_over_time(list(self._faces.values()), self._model,
                                     ['rotation error, degrees', 'mesh to truth, median, mm'],
                                     'distance to the true surface (synthetic recording)')
            cv2.imwrite(str(file), picture)
