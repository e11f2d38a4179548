# SPDX-License-Identifier: Apache-2.0
"""The shipped ONNX files: readable by TensorRT 8.6 to 11, equal to the trained networks, small."""
import hashlib
import json

import numpy as np
import pytest

onnx = pytest.importorskip('onnx')
ort = pytest.importorskip('onnxruntime')

from onnx_models import ALLOWED_OPERATORS

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.onnx_file import store_linear_weights_in_bytes
from depthface_ros.face_model.mesh import FaceModel

MEGABYTE = 1e6


def external_tensors(model):
    return [tensor.name for tensor in model.graph.initializer
            if tensor.data_location == onnx.TensorProto.EXTERNAL]


@pytest.mark.parametrize('name', NETWORKS)
def test_files_hold_only_operators_of_every_supported_tensorrt(name):
    model = onnx.load(MODELS_FOLDER / f'{name}.onnx')
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [('', 17)]
    assert {node.op_type for node in model.graph.node} <= ALLOWED_OPERATORS
    assert not external_tensors(model)


@pytest.mark.parametrize('name', NETWORKS)
def test_only_the_batch_and_the_width_of_the_frame_are_dynamic(name):
    graph = onnx.load(MODELS_FOLDER / f'{name}.onnx').graph
    contract = NETWORKS[name]
    assert [value.name for value in graph.input] == [contract.input_name]
    for value in (*graph.input, *graph.output):
        first, *rest = value.type.tensor_type.shape.dim
        assert first.dim_param == 'batch'
        sizes = tuple(dim.dim_value or None for dim in rest)
        assert sizes == {contract.input_name: contract.input_shape, **contract.outputs}[value.name] or (
            name == 'face_shape' and all(sizes)), value.name


@pytest.mark.parametrize('name', NETWORKS)
def test_a_sample_does_not_depend_on_its_batch(name):
    contract = NETWORKS[name]
    session = ort.InferenceSession(MODELS_FOLDER / f'{name}.onnx', providers=['CPUExecutionProvider'])
    batch = np.random.default_rng(0).normal(size=(3, *contract.input_shapes[-1])).astype(np.float32)
    together = session.run(None, {contract.input_name: batch})
    for i in range(3):
        alone = session.run(None, {contract.input_name: batch[i:i + 1]})
        for all_of, one in zip(together, alone):
            np.testing.assert_allclose(all_of[i], one[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('name', NETWORKS)
def test_model_card_describes_the_file_beside_it(name):
    path = MODELS_FOLDER / f'{name}.onnx'
    card = json.loads(path.with_suffix('.json').read_text())
    assert card['sha256'] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card['bytes'] == path.stat().st_size


def test_all_networks_together_stay_small():
    assert sum(file.stat().st_size for file in MODELS_FOLDER.glob('*.onnx')) <= 16 * MEGABYTE


def test_shape_network_fits_the_face_model():
    (offsets, *_) = onnx.load(MODELS_FOLDER / 'face_shape.onnx').graph.output
    assert offsets.type.tensor_type.shape.dim[1].dim_value == len(FaceModel.load().template)


@pytest.mark.parametrize('name', NETWORKS)
def test_export_computes_the_same_as_the_trained_network(name, tmp_path):
    torch = pytest.importorskip('torch')
    from training.models.export import Deployed, export, new_network
    torch.manual_seed(0)
    network = new_network(name)
    for module in network.modules():  # other running statistics than a new network has
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1)
    network.eval()
    export(network, name, tmp_path / 'network.onnx')
    session = ort.InferenceSession(tmp_path / 'network.onnx', providers=['CPUExecutionProvider'])
    x = torch.randn(2, *NETWORKS[name].input_shapes[-1])
    with torch.no_grad():
        expected = Deployed(network)(x)
    found = session.run(None, {NETWORKS[name].input_name: x.numpy()})
    assert [out.name for out in session.get_outputs()] == list(network.outputs)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-3, atol=1e-4)


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
    session = ort.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    middle, y = session.run(None, {'x': x})
    most = np.abs(x) @ (np.abs(weight).max(0) / 254)
    assert (np.abs(middle - x @ weight.T) <= 1.01 * most[:, None]).all()
    np.testing.assert_allclose(y, middle @ few.T, rtol=1e-3, atol=1e-3 * np.abs(middle).max())
