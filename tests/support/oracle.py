# SPDX-License-Identifier: Apache-2.0
"""Networks that return the true poses, and depth images of spheres at the heads."""
from __future__ import annotations

import numpy as np

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.alignment import AlignmentConfig
from depthface_ros.estimation.error_prior import ErrorPrior
from depthface_ros.estimation.estimator import CENTRE_STEP, EstimatorConfig
from depthface_ros.estimation.refinement import MODES, TRIANGLES
from depthface_ros.geometry.crop import (
    FACE_FROM_HEAD,
    HEAD_CENTRE_FACE,
    POSE_CROP_SIZE,
    pose_crop,
    rounded,
)

CAMERA = Intrinsics(525.0, 525.0, 319.5, 239.5)
# residual errors of the pose network; spheres cannot be aligned with a face
UNALIGNED = ErrorPrior.load(MODELS_FOLDER, MODES, TRIANGLES)
FRONTAL = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]], np.float32)  # a face that faces the camera


def rotation_about_y(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.float32)


def head_pose(x, y, z, yaw=0.0):
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3], pose[:3, 3] = rotation_about_y(yaw) @ FRONTAL, (x, y, z)
    return pose


def six_numbers(crop_from_face):
    """Return the output of the pose network (N, 6) for rotations (N, 3, 3)."""
    columns = (crop_from_face @ np.array(FACE_FROM_HEAD))[:, :, :2]
    return columns.transpose(0, 2, 1).reshape(-1, 6).astype(np.float32)


def head_centre(pose):
    return (pose @ np.array([*HEAD_CENTRE_FACE, 1], np.float32))[:3]


def draw_heads(poses, height=480, width=640):
    """Return a depth image (metres) of spheres of head size around the head centres."""
    v, u = np.mgrid[:height, :width]
    rays = np.stack([*CAMERA.unproject(u, v), np.ones(u.shape)], axis=-1)
    depth = np.full(u.shape, 3.0)
    for centre in map(head_centre, poses):
        a, b, c = (rays ** 2).sum(-1), rays @ centre, centre @ centre - 0.1 ** 2
        root = b * b - a * c
        depth = np.where(root > 0, np.minimum(depth, (b - np.sqrt(np.maximum(root, 0))) / a), depth)
    return depth.astype(np.float32)


class Oracle:
    """Returns the true poses, in the frames and units of the contract."""

    name = 'oracle'

    def __init__(self, poses, residual=np.zeros(6), confidence=0.9):
        self.poses, self.residual, self.confidence, self.ran = poses, residual, confidence, []

    def run(self, network, array):
        self.ran.append(network)
        return getattr(self, network)(array.astype(np.float64))

    def head_finder(self, point_map):
        """Return each head at the cell that its centre projects to."""
        heat, offset = np.zeros((1, 30, 40), np.float32), np.zeros((1, 3, 30, 40), np.float32)
        for centre in map(head_centre, self.poses):
            u, v = CAMERA.project(*(centre[:2] / centre[2]))
            row, column = int(v // 16), int(u // 16)
            block = point_map[0, :, 4 * row:4 * row + 4, 4 * column:4 * column + 4].reshape(4, -1)
            heat[0, row, column] = 0.5  # undecided, so the pose network decides
            offset[0, :, row, column] = centre - block[:3, np.argmin(block[2])]
        return {'heatmap': heat, 'offset': offset}

    def head_pose(self, crops):
        poses = np.array([self._nearest(crop) for crop in crops])
        count = len(crops)
        columns = 2.5 * six_numbers(poses[:, :3, :3])  # networks do not normalise
        return {'rotation': columns.astype(np.float32),
                'sellion': (poses[:, :3, 3] / (POSE_CROP_SIZE / 2)).astype(np.float32),
                'log_variance': np.full((count, 2), (2 * np.log(0.05), 2 * np.log(0.004)), np.float32),
                'confidence': np.full((count, 1), self.confidence, np.float32)}

    def face_shape(self, crops):
        count = len(crops)
        return {'offsets': np.zeros((count, *self.template.shape), np.float32) + np.float32(0.001),
                'expression': np.full((count, 52), 0.25, np.float32),
                'residual': np.tile(self.residual, (count, 1)).astype(np.float32)}

    def _nearest(self, crop):
        """Return crop_from_face of the head that the crop shows, the one nearest to its centre."""
        own = [pose_crop(self.depth, CAMERA, rounded(head_centre(pose)[None], CENTRE_STEP)) for pose in self.poses]
        best = min(range(len(own)), key=lambda i: np.abs(own[i][0][0] - crop).sum())
        return np.linalg.inv(own[best][1][0].astype(np.float64)) @ self.poses[best]


def estimator_of(poses, tta_confidence=0.0, max_rotation_std=1.0, **answers):
    """Return an estimator without test-time augmentation: the oracle needs upright crops."""
    oracle = Oracle(poses, **answers)
    # heads are spheres here, with which no mesh can be aligned
    estimator = FaceEstimator(oracle, EstimatorConfig(
        tta_confidence=tta_confidence, max_rotation_std=max_rotation_std,
        alignment=AlignmentConfig(steps=0)))
    oracle.template, oracle.depth = estimator.face_model.template, draw_heads(poses)
    return estimator, oracle.depth
