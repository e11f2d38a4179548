# SPDX-License-Identifier: Apache-2.0
"""The PyTorch engine agrees with onnxruntime; half precision differs little."""
from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
torch = pytest.importorskip('torch')

from onnx_models import ALLOWED_OPERATORS, run_onnx, small_model

from depthface_ros.engines import MODELS_FOLDER, EngineUnavailable, open_engine
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.half_precision import half_precision
from depthface_ros.engines.onnx_file import read_onnx
from depthface_ros.engines.torch.cuda_engine import TorchCuda
from depthface_ros.engines.torch.onnx_module import OnnxFunction

INPUTS = [(network, shape) for network, contract in NETWORKS.items()
          for shape in contract.input_shapes]
# Of networks in half precision: 0.1 degrees in a column of a rotation, millimetres of others
HALF_TOLERANCE = 2e-3


@pytest.fixture(scope='module')
def cpu():
    return open_engine('cpu_fp32')[0]


@pytest.fixture(scope='module', params=['fp32', 'fp16'])
def engine(request):
    return TorchCuda(MODELS_FOLDER, request.param, device='cpu')


def sample(shape, count=2):
    """Return smooth points in the crop or room with their validity, or numbers of order one."""
    rng = np.random.default_rng(0)
    if len(shape) == 1:
        return rng.normal(size=(count, *shape)).astype(np.float32)
    coarse = rng.normal(size=(count, shape[0], 8, 8)).astype(np.float32)
    x = torch.nn.functional.interpolate(torch.tensor(coarse), shape[1:], mode='bilinear').numpy()
    x[:, 3] = np.sign(np.round(x[:, 3] + 0.7))
    return x.astype(np.float32)


@pytest.mark.parametrize('network, shape', INPUTS)
def test_it_agrees_with_the_cpu_engine(cpu, engine, network, shape):
    tolerance = 1e-5 if 'fp32' in engine.description else HALF_TOLERANCE
    x = sample(shape)
    found, expected = engine.run(network, x), cpu.run(network, x)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == np.float32
        limit = tolerance * max(1, np.abs(value).max())
        np.testing.assert_allclose(found[name], value, atol=limit, err_msg=name)


def test_tensors_in_are_tensors_out(engine):
    x = torch.tensor(sample(NETWORKS['head_pose'].input_shapes[0]))
    for name, value in engine.run('head_pose', x).items():
        assert isinstance(value, torch.Tensor) and value.dtype == torch.float32
        np.testing.assert_array_equal(value, engine.run('head_pose', x.numpy())[name])


@pytest.mark.parametrize('name', NETWORKS)
def test_networks_that_training_exports_today_run(name, tmp_path):
    from training.models.export import export, new_network
    torch.manual_seed(0)
    network = new_network(name).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1)
    file = tmp_path / f'{name}.onnx'
    export(network, name, file)
    x = sample(NETWORKS[name].input_shapes[0])
    expected = run_onnx(file.read_bytes(), x)
    exact = OnnxFunction(onnx.load(str(file)), torch.device('cpu'))(torch.tensor(x))
    half = half_precision(file)
    check_half(half)
    close = run_onnx(half.SerializeToString(), x)
    for key, value in expected.items():
        limit = max(1, np.abs(value).max())
        np.testing.assert_allclose(exact[key].detach().numpy(), value, atol=1e-5 * limit)
        np.testing.assert_allclose(close[key], value, atol=HALF_TOLERANCE * limit)


@pytest.mark.parametrize('name', NETWORKS)
def test_half_precision_is_in_the_file_and_nothing_else_changes(name):
    model, original = (read(MODELS_FOLDER / f'{name}.onnx') for read in (half_precision, read_onnx))
    check_half(model)
    assert list(model.graph.input) == list(original.graph.input)
    assert list(model.graph.output) == list(original.graph.output)
    convolutions = sum(node.op_type == 'Conv' for node in original.graph.node)
    casts = sum(node.op_type == 'Cast' for node in model.graph.node)
    assert casts - sum(node.op_type == 'Cast' for node in original.graph.node) <= 4
    if convolutions:  # what else there is stays single
        assert model.ByteSize() < 0.75 * original.ByteSize()


def check_half(model):
    """Check for opset 17, known operators, and FP16 in all convolutions and nowhere else."""
    onnx.checker.check_model(model, full_check=True)
    assert [opset.version for opset in model.opset_import] == [17]
    assert {node.op_type for node in model.graph.node} <= ALLOWED_OPERATORS
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    kinds = {weights[node.input[1]] for node in model.graph.node
             if node.op_type == 'Conv' and node.input[1] in weights}
    assert kinds == {onnx.TensorProto.FLOAT16} or not kinds and 'Conv' not in {
        node.op_type for node in model.graph.node}
    assert {weights[node.input[1]] for node in model.graph.node
            if node.op_type == 'Gemm'} <= {onnx.TensorProto.FLOAT}


def test_unknown_operators_are_named(tmp_path):
    model = small_model(onnx.helper.make_node('Erf', ['x'], ['y']))
    with pytest.raises(ValueError, match='operators Erf: expected some of Add'):
        OnnxFunction(model, torch.device('cpu'))
    onnx.save(model, str(tmp_path / 'erf.onnx'))
    with pytest.raises(ValueError, match='no rule for operator Erf'):
        half_precision(tmp_path / 'erf.onnx')


@pytest.mark.parametrize('node, message', [
    (('Resize', ['x', '', 'scales'], {'mode': 'linear'}), 'Resize .*linear.*expected nearest'),
    (('Conv', ['x', 'w'], {'pads': [0, 0, 1, 1]}), r'Conv with pads \[0, 0, 1, 1\]'),
    (('AveragePool', ['x'], {'kernel_shape': [2, 2], 'strides': [2, 2], 'pads': [1, 1, 1, 1]}),
     r'AveragePool with pads \[1, 1, 1, 1\]')])
def test_unsupported_attributes_of_operators_are_errors(node, message):
    operator, inputs, options = node
    if operator == 'Conv':
        options |= {'strides': [1, 1], 'dilations': [1, 1], 'group': 1, 'kernel_shape': [1, 1]}
    if operator == 'Resize':
        options |= {'coordinate_transformation_mode': 'asymmetric', 'nearest_mode': 'floor'}
    constants = [onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), 'scales'),
                 onnx.numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), 'w')]
    model = small_model(onnx.helper.make_node(operator, inputs, ['y'], **options),
                        initializers=constants)
    with pytest.raises(ValueError, match=message):
        OnnxFunction(model, torch.device('cpu'))(torch.zeros(1, 1, 4, 4))


def test_pytorch_without_a_gpu_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(torch.version, 'cuda', None)
    with pytest.raises(EngineUnavailable, match='is a build without CUDA'):
        TorchCuda(MODELS_FOLDER)
    monkeypatch.setattr(torch.version, 'cuda', '12.6')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(EngineUnavailable, match='for CUDA 12.6 finds no GPU'):
        TorchCuda(MODELS_FOLDER)
