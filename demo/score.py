# SPDX-License-Identifier: Apache-2.0
"""Errors of published faces against the ground truth of the sample."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

REACH = 0.15  # m; a face further than this from every person is false


@dataclass
class Score:
    """Errors of the faces of all images, and counts of misses and false faces."""

    rotation_deg: list[float] = field(default_factory=list)
    sellion_mm: list[float] = field(default_factory=list)
    mesh_mm: list[float] = field(default_factory=list)  # mean over the vertices, one per mesh
    in_view: int = 0  # persons, over all images
    meshes: int = 0  # of true faces, with or without a true mesh
    false: int = 0  # faces that match no person

    def add(self, faces: dict[str, tuple[np.ndarray, np.ndarray | None]],
            poses: dict[str, np.ndarray], meshes: dict[str, np.ndarray]) -> dict[str, str]:
        """Compare the faces of one image with the ground truth.

        :param faces: id -> camera_from_face (4, 4) and vertices (V, 3), camera frame, or None.
        :param poses: person -> camera_from_face.
        :param meshes: person -> vertices (V, 3), face frame; may lack persons.
        :returns: id -> person.
        """
        persons: dict[str, str] = {}
        self.in_view += len(poses)
        left = dict(poses)
        for face, (camera_from_face, vertices) in faces.items():
            distance = {name: np.linalg.norm(pose[:3, 3] - camera_from_face[:3, 3])
                        for name, pose in left.items()}
            person = min(distance, key=distance.get, default=None)
            if person is None or distance[person] > REACH:
                self.false += 1
                continue
            truth, persons[face] = left.pop(person), person
            self.rotation_deg.append(geodesic_deg(truth[:3, :3], camera_from_face[:3, :3]))
            self.sellion_mm.append(1000 * distance[person])
            self.meshes += vertices is not None
            if vertices is not None and person in meshes:
                off = vertices - (meshes[person] @ truth[:3, :3].T + truth[:3, 3])
                self.mesh_mm.append(1000 * np.linalg.norm(off, axis=1).mean())
        return persons


def geodesic_deg(a: np.ndarray, b: np.ndarray) -> float:
    """Return the angle between rotations (3, 3), exact if small: |a - b| = sqrt(8) sin(angle/2)."""
    return float(np.degrees(2 * np.arcsin(min(1.0, np.linalg.norm(a - b) / np.sqrt(8)))))
