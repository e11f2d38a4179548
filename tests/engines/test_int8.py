# SPDX-License-Identifier: Apache-2.0
"""8-bit networks find the same faces as float networks, and are used only beside their source."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnxruntime')
pytest.importorskip('rosbags')

from depthface_ros import FaceEstimator
from depthface_ros.engines import cpu, open_engine
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.cpu import float_file, int8_file
from depthface_ros.io.bags import BagRecording

IN_BYTES = [network for network in NETWORKS if network != 'face_refiner']  # it has no convolutions
SAMPLE = Path(__file__).parents[2] / 'demo' / 'sample.mcap'


@pytest.fixture
def any_processor(monkeypatch):
    """Use 8 bits on every processor: they compute the same everywhere."""
    monkeypatch.setattr(cpu, 'multiplies_bytes', lambda: True)


def test_faces_in_8_bits_are_those_in_floats(any_processor):
    in_bytes, in_floats = (FaceEstimator(engine) for engine in ('cpu', 'cpu_fp32'))
    assert in_bytes.engine.description.count('int8') == len(IN_BYTES)
    degrees, millimetres = [], []
    for i, frame in enumerate(BagRecording(SAMPLE)):
        if i % 8:
            continue
        found, expected = (estimator(frame.depth, frame.intrinsics)
                           for estimator in (in_bytes, in_floats))
        assert len(found) == len(expected)
        for face in expected:
            same = min(found, key=lambda other: np.linalg.norm(other.head_centre - face.head_centre))
            rotation = face.camera_from_face[:3, :3].T @ same.camera_from_face[:3, :3]
            degrees.append(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
            millimetres.append(1000 * np.linalg.norm(face.vertices - same.vertices, axis=1).mean())
    assert np.median(degrees) < 0.5 and np.median(millimetres) < 1.0
    assert max(degrees) < 3 and max(millimetres) < 5


def test_every_network_with_convolutions_that_ships_has_its_own_in_8_bits(any_processor):
    assert open_engine('cpu')[0].description.count('int8') == len(IN_BYTES)


def test_8_bits_of_other_weights_are_left_alone(any_processor, models):
    with float_file(models, 'head_pose').open('ab') as file:
        file.write(b'\x72\x00')  # protobuf: an empty text more; other bytes, the same network
    assert 'head_pose fp32' in open_engine('cpu', models)[0].description


def test_a_network_without_8_bits_runs_in_floats(any_processor, models):
    int8_file(models, 'face_shape').unlink()
    engine, _ = open_engine('cpu', models)
    assert 'head_pose int8' in engine.description and 'face_shape fp32' in engine.description


def test_a_processor_without_instructions_for_bytes_runs_floats(monkeypatch):
    monkeypatch.setattr(cpu, 'multiplies_bytes', lambda: False)
    assert 'int8' not in open_engine('cpu')[0].description


def test_floats_can_be_requested_anywhere(any_processor):
    assert 'int8' not in open_engine('cpu_fp32')[0].description
