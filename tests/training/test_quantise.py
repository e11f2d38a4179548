# SPDX-License-Identifier: Apache-2.0
"""8-bit networks: the files compute similar results and name their source."""
from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

for package in ('onnx', 'torch', 'rich', 'onnxruntime', 'rosbags', 'anny'):
    pytest.importorskip(package)

import onnx
import onnxruntime

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.engines.cpu import MADE_FROM, float_file
from depthface_ros.engines.onnx_file import read_onnx
from depthface_ros.estimation.head_detector import detector_input
from depthface_ros.io.bags import BagRecording
from training.models.quantise import quantise

SAMPLE = Path(__file__).parents[2] / 'demo' / 'sample.mcap'


def test_a_quantised_detector_finds_the_same_heads_as_the_float_one(tmp_path):
    frames = [frame for i, frame in enumerate(BagRecording(SAMPLE)) if i % 15 == 0]
    inputs = [detector_input(frame.depth, frame.intrinsics)[None] for frame in frames]
    source, target = float_file(MODELS_FOLDER, 'head_finder'), tmp_path / 'head_finder.int8.onnx'
    quantise(source, target, 'point_map', inputs)
    expected, found = (np.concatenate([session.run(['heatmap'], {'point_map': points})[0]
                                       for points in inputs])
                       for session in (onnxruntime.InferenceSession(
                           str(file), providers=['CPUExecutionProvider'])
                           for file in (source, target)))
    assert expected.max() > 0.5
    np.testing.assert_allclose(found, expected, atol=0.15)
    model = onnx.load(target)
    sources = {each.key: each.value for each in model.metadata_props}
    assert sources[MADE_FROM] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert target.stat().st_size < read_onnx(source).ByteSize() / 3
    assert [value.name for value in model.graph.output] == ['heatmap', 'offset']
