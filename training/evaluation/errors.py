# SPDX-License-Identifier: Apache-2.0
"""Errors of an estimated face, and the conditions under which it was observed.

Estimates are aligned with the truth only where the name of an error says `aligned`. They are never
scaled, because depth is metric.
"""
from __future__ import annotations

from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from depthface_ros.estimation.covariance import axis_std, error_axes, ray_axes
from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel
from training.synthesis.scene.random_scene import Head, Scene, facing_pose
from training.synthesis.surface_points import closest_points

Record = dict[str, float | str | bool]  # of one face, or of one false face

INNER_FACE = 0.10  # m from the tip of the nose; excludes ears and hairline
NOSE_TIP = 30  # landmark
# The head axes of BIWI and of the methods compared on it: those of a camera that the head faces.
HEAD_FROM_FACE = np.array([[0., 1, 0], [0, 0, -1], [-1, 0, 0]])
EULER_ORDERS = {'pyr': 'XYZ', 'ypr': 'YXZ'}  # pitch-yaw-roll as in BIWI's files, yaw-pitch-roll
# In the order of a covariance: along the axes of `covariance.error_axes`
AXIS_ERRORS = ('lateral_x_mm', 'lateral_y_mm', 'radial_mm', 'turn_x_deg', 'turn_y_deg', 'turn_z_deg')
AXIS_UNITS = np.repeat([1000, np.degrees(1)], 3)  # of these errors, from m and rad


def describe(scene: Scene, head: Head, face_visible: float, head_visible: float) -> Record:
    """Return the place of a face, and its rotation from the viewing ray, in metres and degrees."""
    camera, pose = scene.camera, head.camera_from_face
    frontal = facing_pose(head.centre_camera, 0, 0, 0)
    yaw, pitch, roll = Rotation.from_matrix(frontal[:3, :3].T @ pose[:3, :3]).as_euler(
        'ZYX', degrees=True)
    x, y, z = head.vertices_camera.T
    u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
    in_image = np.mean((u > 0) & (u < camera.width - 1) & (v > 0) & (v < camera.height - 1))
    facing = -pose[:3, 0] @ head.centre_camera / np.linalg.norm(head.centre_camera)
    return {'camera': camera.name, 'family': camera.family, 'generator': head.person.generator,
            'identity': int(head.person.identity), 'distance_m': float(pose[2, 3]),
            'yaw_deg': float(yaw), 'pitch_deg': float(pitch), 'roll_deg': float(roll),
            'facing': float(facing), 'head_visible': head_visible,
            'in_view': face_visible * float(in_image) if facing > 0 else 0.}


def errors(face: Face, head: Head, *image) -> Record:
    """Return the errors of a found face in degrees and millimetres, and its predicted uncertainty."""
    return (pose_errors(face.camera_from_face, head.camera_from_face)
            | mesh_errors(face.vertices, head.vertices_camera)
            | expression_errors(face.expression, head.person.expression) | reported_uncertainty(face))


def reported_uncertainty(face: Face) -> Record:
    """Return the predicted uncertainty of a face; `<error>_std` is one sigma of each of AXIS_ERRORS."""
    std = axis_std(face.pose_covariance, error_axes(face.camera_from_face)) * AXIS_UNITS
    return {'confidence': float(face.confidence), 'detector_score': float(face.detector_score),
            'rotation_std_deg': float(np.degrees(face.rotation_std)),
            'position_std_mm': 1000 * float(face.position_std),
            **{f'{name}_std': float(value) for name, value in zip(AXIS_ERRORS, std)}}


def pose_errors(pose: np.ndarray, truth: np.ndarray) -> Record:
    """Return the errors of a pose camera_from_face (4, 4).

    geodesic_deg: the angle between the rotations. turn_*_deg: the components of that rotation about
    the axes of the face (x roll, y pitch, z yaw). mae_*_deg: mean absolute difference of three Euler
    angles. sellion_mm: the distance. lateral_x_mm, lateral_y_mm, radial_mm: its components across
    the viewing ray, to the right and down, and along it.
    """
    turn = Rotation.from_matrix(truth[:3, :3].T @ pose[:3, :3]).as_rotvec(degrees=True)
    position = pose[:3, 3].astype(float)
    shift = 1000 * (position - truth[:3, 3])
    angles = {f'mae_{name}_deg': float(np.mean(np.abs(
        (euler_deg(pose, order) - euler_deg(truth, order) + 180) % 360 - 180)))
        for name, order in EULER_ORDERS.items()}
    return {'geodesic_deg': float(np.linalg.norm(turn)), **angles,
            'sellion_mm': float(np.linalg.norm(shift)),
            **{name: float(value) for name, value in zip(
                AXIS_ERRORS, (*(shift @ ray_axes(position)), *turn))}}


def euler_deg(camera_from_face: np.ndarray, order: str) -> np.ndarray:
    """Return Euler angles (3,) of a head relative to the camera, in the conventions used with BIWI."""
    return Rotation.from_matrix(camera_from_face[:3, :3] @ HEAD_FROM_FACE.T).as_euler(
        order, degrees=True)


def mesh_errors(vertices: np.ndarray, truth: np.ndarray) -> Record:
    """Return mean errors in mm of a mesh (V, 3): `mesh` of all vertices, `face` of the inner face.

    Without a suffix: from each vertex to its true position. `surface`: to the nearest point of the
    true surface. `aligned`: after the rigid motion that minimises the squared distances of vertices.
    """
    triangles, face = FaceModel.load().triangles, inner_face()

    def surface_mm(points: np.ndarray) -> np.ndarray:
        return 1000 * closest_points(points, truth, triangles, candidates=5).distance

    distance = 1000 * np.linalg.norm(vertices - truth, axis=1)
    on_surface = surface_mm(vertices)
    aligned = rigidly_aligned(vertices, truth)
    face_aligned = rigidly_aligned(vertices[face], truth[face])
    apart = 1000 * np.linalg.norm(aligned - truth, axis=1)
    face_apart = 1000 * np.linalg.norm(face_aligned - truth[face], axis=1)
    return {name: float(values.mean()) for name, values in {
        'mesh_mm': distance, 'mesh_aligned_mm': apart,
        'mesh_surface_mm': on_surface, 'mesh_surface_aligned_mm': surface_mm(aligned),
        'face_mm': distance[face], 'face_aligned_mm': face_apart,
        'face_surface_mm': on_surface[face],
        'face_surface_aligned_mm': surface_mm(face_aligned)}.items()}


def rigidly_aligned(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return points (N, 3) after the rigid motion that fits them best to corresponding points (N, 3)."""
    middle, true_middle = points.mean(0), truth.mean(0)
    rotation, _ = Rotation.align_vectors(truth - true_middle, points - middle)
    return rotation.apply(points - middle) + true_middle


@cache
def inner_face() -> np.ndarray:
    """Return the vertices of the face without ears, hairline and neck."""
    model = FaceModel.load()
    nose_tip = model.landmarks(model.template)[NOSE_TIP]
    near = np.linalg.norm(model.template - nose_tip, axis=1) < INNER_FACE
    return np.setdiff1d(np.flatnonzero(near), model.regions['ears'])


def expression_errors(expression: np.ndarray, truth: np.ndarray) -> Record:
    """Return both sets of coefficients, and their mean absolute difference."""
    return {'expression': float(np.abs(expression - truth).mean()),
            **{name: float(value) for name, value in zip(EXPRESSION_NAMES, expression)},
            **{f'true_{name}': float(value) for name, value in zip(EXPRESSION_NAMES, truth)}}
