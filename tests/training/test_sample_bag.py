# SPDX-License-Identifier: Apache-2.0
"""The sample recording: its content, and the agreement of its ground truth and depth."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rosbags')

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.io.bags import BagRecording

SAMPLE = Path(__file__).parents[2] / 'demo' / 'sample.mcap'


@pytest.fixture(scope='module')
def frames():
    return {frame.stamp_ns: frame for frame in BagRecording(SAMPLE)}


@pytest.fixture(scope='module')
def truth():
    """Poses {(stamp, person): (rotation, translation)} and meshes {(stamp, person): (V, 3)}."""
    from rosbags.highlevel import AnyReader
    poses, meshes = {}, {}
    with AnyReader([SAMPLE]) as reader:
        chosen = [c for c in reader.connections if c.topic.startswith('/ground_truth')]
        for connection, stamp, data in reader.messages(chosen):
            message = reader.deserialize(data, connection.msgtype)
            if connection.topic == '/ground_truth/tf':
                for item in message.transforms:
                    assert item.header.frame_id == 'camera_depth_optical_frame'
                    poses[stamp, item.child_frame_id] = _matrix(item.transform)
            else:
                points = message.data.view('<f4').reshape(-1, 3)
                meshes[stamp, message.header.frame_id] = points
    return poses, meshes


def _matrix(transform):
    q, t = transform.rotation, transform.translation
    x, y, z, w = q.x, q.y, q.z, q.w
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), t.x],
                     [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x), t.y],
                     [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y), t.z]])


def test_five_seconds_of_raw_depth_in_a_small_file(frames):
    stamps = sorted(frames)
    assert SAMPLE.stat().st_size <= 5e6
    assert len(stamps) == 75
    np.testing.assert_allclose(np.diff(stamps), 1e9 / 15, atol=2)
    for frame in frames.values():
        assert frame.depth.shape == (480, 640) and frame.depth.dtype == np.uint16
        assert 0.3 < (frame.depth > 0).mean() < 0.9  # real cameras have holes, and so has this


def test_every_frame_has_two_poses_and_every_fifth_two_meshes(frames, truth):
    poses, meshes = truth
    stamps = sorted(frames)
    people = ('truth_0', 'truth_1')
    assert set(poses) == {(stamp, person) for stamp in stamps for person in people}
    assert set(meshes) == {(stamp, person) for stamp in stamps[::5] for person in people}
    assert {mesh.shape for mesh in meshes.values()} == {FaceModel.load().template.shape}


def test_meshes_lie_on_the_measured_surface(frames, truth):
    poses, meshes = truth
    triangles = FaceModel.load().triangles
    for (stamp, person), mesh in meshes.items():
        pose = poses[stamp, person]
        corners = (mesh @ pose[:, :3].T + pose[:, 3])[triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        middles = corners.mean(1)
        length = np.linalg.norm(normals, axis=1) * middles[:, 2]
        facing = -(normals * middles).sum(1) > 0.6 * length
        x, y, z = middles[facing].T
        camera = frames[stamp].intrinsics
        u, v = (np.round(value).astype(int) for value in camera.project(x / z, y / z))
        measured = frames[stamp].depth[v, u] / 1000
        seen = measured > z - 0.03  # hair covers some of it
        assert seen.mean() > 0.6
        error = measured[seen] - z[seen]
        assert abs(np.median(error)) < 0.002
        assert np.median(np.abs(error)) < 0.004


def test_people_turn_their_heads_and_talk(truth):
    poses, meshes = truth
    for person in ('truth_0', 'truth_1'):
        out_of_face = np.array([pose[:3, 0] for (_, who), pose in poses.items() if who == person])
        cosine = out_of_face @ out_of_face.T
        assert np.degrees(np.arccos(cosine.min())) > 30
        steps = np.degrees(np.arccos(np.clip(
            (out_of_face[1:] * out_of_face[:-1]).sum(1), -1, 1)))
        assert steps.max() < 12  # smoothly: below 180 degrees a second
        moving = np.array([mesh for (_, who), mesh in meshes.items() if who == person])
        chin = FaceModel.load().landmarks(moving)[:, 8]
        assert np.ptp(chin[:, 2]) > 0.005
