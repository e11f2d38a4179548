# SPDX-License-Identifier: Apache-2.0
"""The recipe for one's own camera: from a recording by `training adapt` to a running node."""
from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')
pytest.importorskip('torch')
pytest.importorskip('rosbags')
cv2 = pytest.importorskip('cv2')

from drawn_faces import write_pool
from rclpy.parameter import Parameter
from ros_helpers import Peer, camera_info_message, image_message, spinning
from sample_frames import SAMPLE, sample_frames

from depthface_ros import FaceEstimator
from depthface_ros.cli import main as depthface
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.ros.node import FaceNode
from training.__main__ import main as training


@pytest.fixture(scope='module')
def adapted(tmp_path_factory) -> Path:
    """Return the folder that the command writes for the sample, after a very short training."""
    pools, out, empty = (tmp_path_factory.mktemp(name) for name in ('pools', 'adapted', 'empty'))
    wall = sample_frames(100)[0][0] * 0 + 2000
    assert cv2.imwrite(str(empty / '0.png'), wall)
    (empty / 'camera.json').write_text('{"fx": 600, "fy": 600, "cx": 320, "cy": 240}')
    training(['adapt', '--bag', str(SAMPLE), '--pools', str(write_pool(pools, 'train')), '--out', str(out),
              '--frames', '4', '--report-frames', '2', '--steps', '2', '--batch', '8', '--device', 'cpu',
              '--preset', 'cpu', '--empty', str(empty)])
    return out


def test_the_node_publishes_the_faces_of_adapted_networks(adapted):
    depth, camera = sample_frames(30)[0]
    expected, shipped = (FaceEstimator('cpu', models_folder=models)(depth, camera)[0]
                         for models in (adapted, MODELS_FOLDER))
    rclpy.init()
    node = FaceNode(parameter_overrides=[Parameter('engine', value='cpu'),
                                         Parameter('models_folder', value=str(adapted))])
    peer = Peer()
    node.trigger_configure()
    node.trigger_activate()
    with spinning(node, peer.node):
        peer.wait_until_connected()
        info = camera_info_message(depth.shape[1], depth.shape[0], float(camera.fx))
        info.k = [camera.fx, 0., camera.cx, 0., camera.fy, camera.cy, 0., 0., 1.]
        info.p = [camera.fx, 0., camera.cx, 0., 0., camera.fy, camera.cy, 0., 0., 0., 1., 0.]
        peer.send_info(info)
        numbers = itertools.count(1)

        def another() -> bool:  # a track starts after some images
            peer.send(image_message(depth, next(numbers) * 10 ** 9 // 15))
            time.sleep(0.1)
            return len(peer.heard['tf']) >= 3
        peer.wait_for(another, 30)
        peer.wait_for(lambda: any(m.action == 0 for m in peer.heard['mesh']), 20)
        transforms = [item.transform for message in peer.heard['tf'] for item in message.transforms]
    rclpy.shutdown()
    found = np.array([[getattr(item.translation, axis) for axis in 'xyz'] for item in transforms])
    nearest = np.linalg.norm(found - expected.camera_from_face[:3, 3], axis=1).min()
    assert nearest < 0.003
    assert np.abs(expected.vertices - shipped.vertices).max() > 1e-5  # other networks indeed


def test_the_offline_run_uses_adapted_networks_and_the_report_has_one_table(adapted, tmp_path, capsys):
    assert depthface(['run', str(SAMPLE), '--models', str(adapted), '--engine', 'cpu', '--frames', '5',
                      '--out', str(tmp_path), '--summary', str(tmp_path / 'summary.json')]) == 0
    assert f'networks in {adapted}' in capsys.readouterr().out
    summary, = json.loads((tmp_path / 'summary.json').read_text()).values()
    assert summary['faces'] > 0
    page = (adapted / 'report.md').read_text()
    assert page.count('| measured on |') == 1 and 'likely false faces per 100 images' in page
    assert '| recording without people | false faces per 100 images | 0 | 0 |  |' in page
