# SPDX-License-Identifier: Apache-2.0
"""Poses of the face frames on /tf, for ROS messages and for rosbags."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from depthface_ros.geometry.rotations import quaternion_from_rotation
from depthface_ros.tracking.tracks import Track


class FramePose(NamedTuple):
    """Pose of a child frame in its parent frame."""

    parent: str
    child: str
    translation: tuple[float, ...]  # x, y, z in metres
    quaternion: tuple[float, ...]  # x, y, z, w


# REP-155: gaze_<id> is an optical frame with z along the gaze, here along x of the face.
FACE_FROM_GAZE = (0.0, 0.0, 0.0), (-0.5, 0.5, -0.5, 0.5)


def face_frames(camera_frame: str, tracks: list[Track]) -> list[FramePose]:
    """Return face_<id> in the camera frame and gaze_<id> in face_<id>, per face (REP-155)."""
    if not tracks:
        return []
    poses = translations_and_quaternions(
        np.stack([track.face.camera_from_face for track in tracks]))
    frames = []
    for track, pose in zip(tracks, poses):
        face, gaze = f'face_{track.id}', f'gaze_{track.id}'
        frames += [FramePose(camera_frame, face, *pose), FramePose(face, gaze, *FACE_FROM_GAZE)]
    return frames


def translation_and_quaternion(a_from_b: np.ndarray) -> tuple[tuple, tuple]:
    """Return (x, y, z) and (x, y, z, w) of a rigid transform (4, 4), as Python floats."""
    return translations_and_quaternions(a_from_b[None])[0]


def translations_and_quaternions(a_from_b: np.ndarray) -> list[tuple[tuple, tuple]]:
    """Return the translations and quaternions of N rigid transforms (N, 4, 4)."""
    quaternions = quaternion_from_rotation(a_from_b[:, :3, :3].astype(np.float64))
    return [(tuple(translation), tuple(quaternion)) for translation, quaternion in zip(
        a_from_b[:, :3, 3].tolist(), quaternions.tolist())]
