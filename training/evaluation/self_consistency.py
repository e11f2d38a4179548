# SPDX-License-Identifier: Apache-2.0
"""Label-free figures: distance of meshes to points, equivariance under mirroring and rolling."""
from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.camera import depth_in_metres
from depthface_ros.io.frame import Frame
from training.data.frame_views import mirrored, rolled
from training.evaluation.surface_distance import face_triangles, median_distances, surface_distances

ROLL = math.radians(20)
COPIES = ('mirror', 'roll')
SAME_HEAD = 0.1  # m between sellions
# Of a face by the measured surface. False faces on hands have 0.2 to 0.3, whole faces at least 0.4.
MIN_SUPPORT = 0.35


def mirror_face(face: Face, model: FaceModel) -> Face:
    """Return the face to expect in the mirrored frame."""
    flip_camera, flip_face = np.diag([-1, 1, 1, 1]), np.diag([1, -1, 1, 1])
    return replace(face, camera_from_face=(flip_camera @ face.camera_from_face
                                           @ flip_face).astype(np.float32),
                   vertices=face.vertices[model.mirror] * np.float32([-1, 1, 1]),
                   expression=face.expression[model.expression_mirror])


def roll_face(face: Face, angle: float) -> Face:
    """Return the face to expect in the rolled frame."""
    turn = np.eye(4, dtype=np.float32)
    turn[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return replace(face, camera_from_face=turn @ face.camera_from_face,
                   vertices=face.vertices @ turn[:3, :3].T)


def disagreement(one: Face, other: Face) -> tuple[float, float]:
    """Return degrees between the rotations and mean millimetres between the vertices of two faces."""
    cosine = (np.trace(one.camera_from_face[:3, :3].T @ other.camera_from_face[:3, :3]) - 1) / 2
    return (math.degrees(math.acos(np.clip(cosine, -1, 1))),
            1000 * float(np.linalg.norm(one.vertices - other.vertices, axis=1).mean()))


def equivariance(estimator: FaceEstimator, frame: Frame, faces: list[Face],
                 copies: tuple[str, ...] = COPIES) -> dict[str, list[tuple[float, float]]]:
    """Return disagreements (degrees, mm) of faces with those in a mirrored and in a rolled frame.

    A face that is not detected again has no entry.
    """
    model = estimator.face_model
    found: dict[str, list[tuple[float, float]]] = {}
    for name, copy, expected in (
            ('mirror', mirrored(frame), [mirror_face(face, model) for face in faces]),
            ('roll', rolled(frame, ROLL), [roll_face(face, ROLL) for face in faces])):
        if name not in copies:
            continue
        again = estimator(copy.depth, copy.intrinsics)
        pairs = [(one, min(again, key=lambda other: apart(one, other))) for one in expected
                 if again]
        found[name] = [disagreement(one, other) for one,
                       other in pairs if apart(one, other) < SAME_HEAD]
    return found


def mesh_to_points(depth: np.ndarray, intrinsics: Intrinsics, faces: list[Face],
                   model: FaceModel) -> np.ndarray:
    """Return the median distance (N,) in mm between each mesh and its measured points."""
    depth_m = torch.from_numpy(depth_in_metres(depth)).expand(len(faces), *depth.shape)
    distances = surface_distances(depth_m, intrinsics,
                        torch.from_numpy(np.stack([face.vertices for face in faces])),
                        face_triangles(model))
    return median_distances(distances).numpy() * 1000


def self_consistency_figures(estimator: FaceEstimator, frames: Iterable[Frame],
                       copies: tuple[str, ...] = COPIES) -> dict[str, float]:
    """Return medians and means over all detected faces; no label is needed."""
    count, shown, unsupported, distances, confidences = 0, 0, 0, [], []
    moved: dict[str, list[tuple[float, float]]] = {name: [] for name in copies}
    for frame in frames:
        count += 1
        faces = estimator(frame.depth, frame.intrinsics)
        if not faces:
            continue
        shown += 1
        distances += mesh_to_points(frame.depth, frame.intrinsics, faces,
                                    estimator.face_model).tolist()
        confidences += [face.confidence for face in faces]
        unsupported += sum(face.support < MIN_SUPPORT for face in faces)
        for name, values in equivariance(estimator, frame, faces, copies).items():
            moved[name] += values
    p90 = float(np.nanpercentile(distances, 90)) if distances else math.nan
    figures = {'frames': count, 'frames_with_faces': shown, 'faces': len(confidences),
               'likely_false_faces_per_100_images': 100 * unsupported / max(count, 1),
               'confidence_median': _median(confidences),
               'mesh_to_points_mm_median': _median(distances), 'mesh_to_points_mm_p90': p90}
    for name, values in moved.items():
        figures |= {f'{name}_found_again': len(values),
                    f'{name}_deg_median': _median([deg for deg, _ in values]),
                    f'{name}_mm_median': _median([mm for _, mm in values])}
    return figures


def _median(values: list[float]) -> float:
    return float(np.nanmedian(values)) if values else math.nan


def apart(one: Face, other: Face) -> float:
    return float(np.linalg.norm(one.camera_from_face[:3, 3] - other.camera_from_face[:3, 3]))
