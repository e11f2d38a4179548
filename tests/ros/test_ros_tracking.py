# SPDX-License-Identifier: Apache-2.0
"""Ids over real DDS: faces that cross, and a face that is lost and found again."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')

from ros_helpers import KnownFaces, calibrated_node, face_at, image_message

STEP_NS = 33_333_333  # 30 Hz
TRACKER = {'tracker__sightings': 2, 'tracker__keep_s': 0.3, 'tracker__keep_images': 2,
           'tracker__smoothing__enabled': False}


class Signs(KnownFaces):
    """Stands in for the networks: people hold up signs, one depth each, 1 cm to the pixel."""

    def __call__(self, depth, intrinsics, heads=None, stage_done=None):
        faces = []
        for z in np.unique(depth[depth > 0]):
            columns = np.nonzero(depth == z)[1]
            if len(columns) > 30:  # else it is covered
                face = face_at(z / 1000)
                face.camera_from_face[0, 3] = 0.01 * columns.mean()
                faces.append(face)
        return faces


def signs(**columns) -> np.ndarray:
    """A depth image with a sign at a column for each depth in mm, as z1000=5; near ones cover."""
    depth = np.zeros((48, 64), np.uint16)
    for name, column in sorted(columns.items(), reverse=True):
        depth[10:20, column - 2:column + 3] = int(name[1:])
    return depth


@pytest.fixture
def peer(monkeypatch):
    with calibrated_node(monkeypatch, estimator=Signs, **TRACKER) as peer:
        yield peer


def play(peer, images) -> list[dict[str, float]]:
    """For each image that shows public faces: their depth in metres by name."""
    done = []
    publish = peer.subject._outputs.publish
    peer.subject._outputs.publish = lambda frame, tracks: (publish(frame, tracks), done.append(1))
    for i, depth in enumerate(images):
        peer.send(image_message(depth, 10 ** 9 + i * STEP_NS))
        peer.wait_for(lambda: len(done) > i)
    last_ns = 10 ** 9 + (len(images) - 1) * STEP_NS
    peer.wait_for(lambda: peer.heard['tf'] and last_ns == _stamp_ns(peer.heard['tf'][-1]))
    return [{item.child_frame_id: round(item.transform.translation.z, 3)
             for item in message.transforms if item.child_frame_id.startswith('face_')}
            for message in peer.heard['tf']]


def _stamp_ns(message) -> int:
    stamp = message.transforms[0].header.stamp
    return stamp.sec * 10 ** 9 + stamp.nanosec


def test_two_faces_that_cross_keep_their_ids(peer):
    """0.3 m behind each other, 0.6 m/s each; the one behind is hidden for a moment."""
    heard = play(peer, [signs(z1000=column, z1300=63 - column) for column in range(4, 60, 2)])
    assert len(heard) == 27  # from the second image on
    assert heard[0] == heard[-1] == {'face_f00001': 1.0, 'face_f00002': 1.3}
    assert all(faces.items() <= heard[0].items() for faces in heard)
    assert {len(faces) for faces in heard} == {1, 2}


def test_a_face_that_is_lost_and_found_keeps_its_id_until_it_is_given_up(peer):
    here, nobody = [signs(z1000=30)], [signs()]
    heard = play(peer, here * 3 + nobody * 6 + here * 3 + nobody * 12 + here * 3)
    assert [list(faces) for faces in heard] == 5 * [['face_f00001']] + 2 * [['face_f00002']]
