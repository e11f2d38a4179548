# SPDX-License-Identifier: Apache-2.0
"""Writing networks in 8 bits: what is written computes about the same and says where it is from."""
from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

for package in ('onnx', 'torch', 'rich', 'onnxruntime', 'rosbags', 'anny'):
    pytest.importorskip(package)

import onnx  # noqa: E402
import onnxruntime  # noqa: E402

from depthface_ros.bags import BagRecording  # noqa: E402
from depthface_ros.engines import MODELS_FOLDER  # noqa: E402
from depthface_ros.engines.onnx_file import read_onnx, store_linear_weights_in_bytes  # noqa: E402
from depthface_ros.engines.onnxruntime_cpu import MADE_FROM, float_file  # noqa: E402
from depthface_ros.head_finder import finder_input  # noqa: E402
from training.quantise import quantise  # noqa: E402

SAMPLE = Path(__file__).parents[1] / 'demo' / 'sample.mcap'


def test_a_quantised_finder_sees_heads_where_the_float_one_does(tmp_path):
    frames = [frame for i, frame in enumerate(BagRecording(SAMPLE)) if i % 15 == 0]
    inputs = [finder_input(frame.depth, frame.intrinsics)[None] for frame in frames]
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


def test_large_linear_layers_in_bytes_err_by_half_a_step_at_most():
    generator = np.random.default_rng(0)
    weight = (generator.normal(size=(500, 300)) * 10.0 ** generator.uniform(-6, 2, 300)).astype(np.float32)
    weight[:, 7] = 0
    few = generator.normal(size=(20, 500)).astype(np.float32)
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node('Gemm', ['x', 'weight'], ['middle'], transB=1),
         helper.make_node('Gemm', ['middle', 'few'], ['y'], transB=1)], 'layers',
        [helper.make_tensor_value_info('x', floats, ['batch', 300])],
        [helper.make_tensor_value_info(name, floats, ['batch', size]) for name, size in (('middle', 500), ('y', 20))],
        [onnx.numpy_helper.from_array(array, name) for name, array in (('weight', weight), ('few', few))])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    before = model.ByteSize()
    store_linear_weights_in_bytes(model)
    onnx.checker.check_model(model, full_check=True)
    assert before - model.ByteSize() > 2.9 * weight.size
    x = generator.normal(size=(4, 300)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    middle, y = session.run(None, {'x': x})
    most = np.abs(x) @ (np.abs(weight).max(0) / 254)
    assert (np.abs(middle - x @ weight.T) <= 1.01 * most[:, None]).all()
    np.testing.assert_allclose(y, middle @ few.T, rtol=1e-3, atol=1e-3 * np.abs(middle).max())
