# SPDX-License-Identifier: Apache-2.0
"""The first view of the faces in RViz and Foxglove: from the front, upright, labels apart."""
from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

yaml = pytest.importorskip('yaml')

CONFIG = Path(__file__).resolve().parents[2] / 'config'
FACE = np.array([0.0, 0.0, 1.0])  # a face 1 m before the camera, in its optical frame
GAZE_FRAMES = [f'gaze_f{number:05d}' for number in range(1, 9)]


def rviz() -> dict:
    return yaml.safe_load((CONFIG / 'depthface.rviz').read_text())['Visualization Manager']


def foxglove() -> dict:
    return json.loads((CONFIG / 'foxglove.json').read_text())['configById']['3D!faces']


def rviz_view() -> tuple[np.ndarray, np.ndarray, float]:
    """Return position, target and sign of the up axis of RViz's orbit camera, whose up is z."""
    view = rviz()['Views']['Current']
    target = np.array([view['Focal Point'][axis] for axis in 'XYZ'], float)
    yaw, pitch = view['Yaw'], view['Pitch']
    away = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    return target + view['Distance'] * away, target, -1.0 if view['Invert Z Axis'] else 1.0


def foxglove_view() -> tuple[np.ndarray, np.ndarray, float]:
    """Return the same of Foxglove's camera: phi from z, theta from -y, about targetOffset."""
    view = foxglove()['cameraState']
    target, phi, theta = np.array(view['targetOffset'], float), *np.radians(
        [view['phi'], view['thetaOffset']])
    away = np.array([-np.sin(phi) * np.sin(theta), -np.sin(phi) * np.cos(theta), np.cos(phi)])
    return target + view['distance'] * away, target, 1.0


@pytest.mark.parametrize('view', [rviz_view, foxglove_view])
def test_the_first_view_is_from_the_front_and_upright(view):
    eye, target, sign = view()
    forward = (target - eye) / np.linalg.norm(target - eye)
    up = sign * (np.array([0.0, 0, 1]) - forward[2] * forward)
    up /= np.linalg.norm(up)
    in_view = np.stack([np.cross(forward, up), up, forward]) @ (FACE - eye)
    assert eye[2] < 0 and forward[2] > 0.9  # behind the camera, along its line of sight
    assert up[1] < -0.9  # y of an optical frame points down
    assert np.cross(forward, up)[0] > 0.99  # and x to the right
    assert in_view[2] > 1 and np.abs(in_view[:2]).max() < 0.2 * in_view[2]


def test_rviz_labels_faces_and_not_their_gaze_frames_which_have_the_same_origin():
    displays = [display for display in rviz()['Displays'] if display['Class'].endswith('/TF')]
    labelled, = (display for display in displays if display['Show Names'])
    silent, = (display for display in displays if not display['Show Names'])
    for display, kind in ((labelled, 'face'), (silent, 'gaze')):
        shown = [frame for frame in ('face_f00001', 'gaze_f00001', 'camera_link')
                 if re.search(display['Filter (whitelist)'], frame)]
        assert shown == [f'{kind}_f00001'] and display['Show Axes']
    assert labelled['Frames'] == {frame: {'Value': False} for frame in GAZE_FRAMES}


def test_foxglove_hides_gaze_frames_whose_labels_would_cover_those_of_faces():
    assert foxglove()['transforms'] == {f'frame:{frame}': {'visible': False}
                                        for frame in GAZE_FRAMES}
