# SPDX-License-Identifier: Apache-2.0
"""`depthface run` returns the same faces for a bag as the node publishes when it is played."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')
pytest.importorskip('onnxruntime')
pytest.importorskip('rosbags')

from rclpy.parameter import Parameter
from ros_helpers import Peer, camera_info_message, image_message, spinning
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depthface_ros.cli import main
from depthface_ros.ros.node import FaceNode
from depthface_ros.tracking.tracks import in_image

SAMPLE = Path(__file__).parents[2] / 'demo' / 'sample.mcap'
FRAMES = 12
SECOND = 10 ** 9


def stamp_ns(header) -> int:
    return header.stamp.sec * SECOND + header.stamp.nanosec


@pytest.fixture(scope='module')
def bag(tmp_path_factory) -> Path:
    """The start of the sample, a black image in it, and then its start once more, earlier.

    So faces come, are smoothed, are lost for an image, and are given up when time jumps back.
    """
    folder, store = tmp_path_factory.mktemp('bag') / 'twice', get_typestore(Stores.ROS2_JAZZY)
    with AnyReader([SAMPLE]) as reader, Writer(
            folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = [c for c in reader.connections if c.topic.startswith('/camera')]
        topics = {c.topic: writer.add_connection(c.topic, c.msgtype, typestore=store)
                  for c in connections}
        messages = [(c, reader.deserialize(data, c.msgtype))
                    for c, _, data in reader.messages(connections)]
        for part, (count, back_ns) in enumerate(((FRAMES, 0), (4, 10 * SECOND))):
            for i, (connection, message) in enumerate(messages[:2 * count]):
                time = message.header.stamp
                time.sec -= back_ns // SECOND
                if connection.msgtype.endswith('/Image') and i // 2 == 6 and not part:
                    message.data = np.zeros_like(message.data)
                recorded = SECOND * (1 + 100 * part) + i  # a recorder's clock never jumps
                writer.write(topics[connection.topic], recorded,
                             store.serialize_cdr(message, connection.msgtype))
                time.sec += back_ns // SECOND
    return folder


def images(bag: Path) -> list:
    """Return the depth images of a bag, in order, and its first camera_info."""
    with AnyReader([bag]) as reader:
        messages = [reader.deserialize(data, c.msgtype) for c, _, data in reader.messages()]
    return ([m for m in messages if hasattr(m, 'encoding')],
            next(m for m in messages if hasattr(m, 'distortion_model')))


def play(bag: Path) -> dict[str, list]:
    """Return the messages that the node publishes without a time limit for each image."""
    recorded, info = images(bag)
    rclpy.init()
    node, peer = FaceNode(parameter_overrides=[Parameter('engine', value='cpu')]), Peer()
    node.trigger_configure()
    node.trigger_activate()
    done, meshes = [], 0
    publish = node._outputs.publish
    node._outputs.publish = lambda frame, tracks: (
        publish(frame, tracks), done.append(in_image(tracks, frame.stamp_ns)))
    with spinning(node, peer.node):
        peer.wait_until_connected()
        camera = camera_info_message(info.width, info.height, float(info.k[0]))
        camera.k, camera.p = info.k.tolist(), info.p.tolist()
        peer.send_info(camera)
        for i, message in enumerate(recorded):
            depth = message.data.view('<u2').reshape(message.height, message.width)
            peer.send(image_message(depth, stamp_ns(message.header), message.header.frame_id))
            peer.wait_for(lambda: len(done) > i, 20)
            meshes += len(done[i])
            # else the queues of the middleware would run over
            peer.wait_for(lambda: len(peer.heard['tf']) >= sum(map(bool, done)), 20)
            peer.wait_for(lambda: sum(m.action == 0 for m in peer.heard['mesh']) >= meshes, 20)
        heard = {name: list(messages) for name, messages in peer.heard.items()}
    rclpy.shutdown()
    return heard


def poses(transforms) -> list:
    return [((item.header.frame_id, item.child_frame_id, stamp_ns(item.header)), [
        getattr(part, axis) for part, axes in (
            (item.transform.translation, 'xyz'), (item.transform.rotation, 'xyzw'))
        for axis in axes]) for item in transforms]


def markers(messages) -> list:
    return [((stamp_ns(m.header), m.action, m.id, m.ns, m.type if m.action == 0 else 0,
              m.header.frame_id), np.array([[p.x, p.y, p.z] for p in m.points]))
            for m in messages]


def assert_same(found: list, expected: list) -> None:
    assert [key for key, _ in found] == [key for key, _ in expected]
    for (key, one), (_, other) in zip(found, expected):
        np.testing.assert_allclose(one, other, atol=1e-6, err_msg=str(key))


def test_node_and_offline_run_agree_on_every_image(bag, tmp_path):
    out = tmp_path / 'out.mcap'
    assert main(['run', str(bag), '--engine', 'cpu', '--out', str(tmp_path),
                 '--bag', str(out)]) == 0
    with AnyReader([out]) as reader:
        offline = {c.topic: [] for c in reader.connections}
        for connection, recorded, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            offline[connection.topic].append(message)
            first = message.transforms[0] if connection.topic == '/tf' else message
            assert recorded == stamp_ns(first.header)
    heard = play(bag)

    transforms = [item for message in offline['/tf'] for item in message.transforms]
    by_time = sorted((item for message in heard['tf'] for item in message.transforms),
                     key=lambda item: stamp_ns(item.header))  # so does a bag hold them
    assert {item.child_frame_id for item in transforms} == {
        f'{kind}_f0000{n}' for kind in ('face', 'gaze') for n in (1, 2, 3, 4)}
    assert_same(poses(transforms), poses(by_time))

    # sorted, because faces that are lost at once are deleted in any order
    assert_same(*(sorted(markers(messages), key=lambda item: item[0])
                  for messages in (offline['/depthface/mesh'], heard['mesh'])))
    lost = [m for m in heard['mesh'] if m.action == 2]
    assert len(lost) == 2 and len(heard['mesh']) == 2 * len(heard['tf']) + 2
