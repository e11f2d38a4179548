# SPDX-License-Identifier: Apache-2.0
"""How far an estimated face is from the true one, and what made it hard to see.

Nothing is aligned before an error is taken, unless its name says so, and nothing is ever scaled:
depth is metric.
"""
from __future__ import annotations

from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel
from training.synthesis.scene.random_scene import Head, Scene, facing_pose
from training.synthesis.surface_points import closest_points

Record = dict[str, float | str | bool]  # of one face, or of one false face

INNER_FACE = 0.10  # m from the tip of the nose: what remains without ears and hairline
NOSE_TIP = 30  # landmark
# The axes of BIWI and of the methods compared on it: those of a camera that the head looks at.
HEAD_FROM_FACE = np.array([[0., 1, 0], [0, 0, -1], [-1, 0, 0]])
EULER_ORDERS = {'pyr': 'XYZ', 'ypr': 'YXZ'}  # pitch-yaw-roll as in BIWI's files, yaw-pitch-roll
AXES = 'xyz'


def describe(scene: Scene, head: Head, face_visible: float, head_visible: float) -> Record:
    """Where a face is and how it is turned, in metres and degrees from the viewing ray."""
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
    """Errors of a found face in degrees and millimetres, and what it says of itself."""
    return (pose_errors(face.camera_from_face, head.camera_from_face)
            | mesh_errors(face.vertices, head.vertices_camera)
            | expression_errors(face.expression, head.person.expression) | reported_uncertainty(face))


def reported_uncertainty(face: Face) -> Record:
    """How sure a face is of itself."""
    return {'confidence': float(face.confidence), 'detector_score': float(face.detector_score),
            'rotation_std_deg': float(np.degrees(face.rotation_std)),
            'position_std_mm': 1000 * float(face.position_std)}


def pose_errors(pose: np.ndarray, truth: np.ndarray) -> Record:
    """Errors of a pose camera_from_face (4, 4).

    geodesic_deg: the angle between the rotations; turn_*_deg: the same turn about the axes of the
    face (x roll, y pitch, z yaw). mae_*_deg: mean absolute difference of three Euler angles.
    sellion_mm: the distance; shift_*_mm: the same along the axes of the camera.
    """
    turn = Rotation.from_matrix(truth[:3, :3].T @ pose[:3, :3]).as_rotvec(degrees=True)
    shift = 1000 * (pose[:3, 3].astype(float) - truth[:3, 3])
    angles = {f'mae_{name}_deg': float(np.mean(np.abs(
        (euler_deg(pose, order) - euler_deg(truth, order) + 180) % 360 - 180)))
        for name, order in EULER_ORDERS.items()}
    return {'geodesic_deg': float(np.linalg.norm(turn)), **angles,
            'sellion_mm': float(np.linalg.norm(shift)),
            **{f'turn_{axis}_deg': float(value) for axis, value in zip(AXES, turn)},
            **{f'shift_{axis}_mm': float(value) for axis, value in zip(AXES, shift)}}


def euler_deg(camera_from_face: np.ndarray, order: str) -> np.ndarray:
    """Angles (3,) of a head against the camera, as the literature on BIWI counts them."""
    return Rotation.from_matrix(camera_from_face[:3, :3] @ HEAD_FROM_FACE.T).as_euler(
        order, degrees=True)


def mesh_errors(vertices: np.ndarray, truth: np.ndarray) -> Record:
    """Mean errors in mm of a mesh (V, 3): `mesh` of all of it, `face` without ears and hairline.

    Without a suffix from each vertex to its true place; `surface` to the nearest point of the true
    surface; `aligned` after the rotation and shift that make the first least.
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
    """Points (N, 3) rotated and shifted, not scaled, to lie best on others (N, 3) one by one."""
    middle, true_middle = points.mean(0), truth.mean(0)
    rotation, _ = Rotation.align_vectors(truth - true_middle, points - middle)
    return rotation.apply(points - middle) + true_middle


@cache
def inner_face() -> np.ndarray:
    """The face proper: neither ears nor what hair often covers."""
    model = FaceModel.load()
    nose_tip = model.landmarks(model.template)[NOSE_TIP]
    near = np.linalg.norm(model.template - nose_tip, axis=1) < INNER_FACE
    return np.setdiff1d(np.flatnonzero(near), model.regions['ears'])


def expression_errors(expression: np.ndarray, truth: np.ndarray) -> Record:
    """Both sets of coefficients, for correlations, and their mean absolute difference."""
    return {'expression': float(np.abs(expression - truth).mean()),
            **{name: float(value) for name, value in zip(EXPRESSION_NAMES, expression)},
            **{f'true_{name}': float(value) for name, value in zip(EXPRESSION_NAMES, truth)}}
