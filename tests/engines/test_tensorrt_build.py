# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's own parser and builder, of TensorRT for RTX: they need no GPU.

Eight engines are built: four networks in two precisions.
"""
from __future__ import annotations

import enum
import hashlib
import json
import stat
from dataclasses import replace
from types import SimpleNamespace

import pytest

trt = pytest.importorskip('tensorrt_rtx', reason='no TensorRT for RTX for this platform')
onnx = pytest.importorskip('onnx')

from fake_cuda import FakeCuda
from onnx_models import small_model

from depthface_ros.cli import main
from depthface_ros.engines import MODELS_FOLDER, EngineUnavailable
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.model_file import load_model
from depthface_ros.engines.tensorrt import build, trt_engine
from depthface_ros.engines.tensorrt.api import new_logger
from depthface_ros.engines.tensorrt.build import build_plan
from depthface_ros.engines.tensorrt.plan_files import ANY_GPU, Recipe, load_plan
from depthface_ros.engines.tensorrt.plans import PREBUILT, build_ahead
from depthface_ros.engines.tensorrt.trt_engine import TensorRt

RTX = '8.6', '8.9', '12.0'


def recipe(network='head_pose', precision='fp16', capabilities=RTX):
    contract = NETWORKS[network]
    file = MODELS_FOLDER / f'{network}.onnx'
    return Recipe(network, hashlib.sha256(file.read_bytes()).hexdigest(), precision,
                  contract.input_range, dict(contract.outputs),
                  f'TensorRT for RTX {trt.__version__}', ANY_GPU, capabilities)


def built(data, made=recipe()):
    return build_plan(trt, new_logger(trt), made, data)


def parsed(data):
    """Return a network as NVIDIA's parser makes it, and what must live as long."""
    logger = new_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(build._network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(data)
    return network, (logger, builder, parser)


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('half', [False, True])
def test_the_parser_finds_inputs_and_outputs_of_the_contract(network, half):
    data = load_model(MODELS_FOLDER, network, half).SerializeToString()
    found, _alive = parsed(data)
    sides = ([found.get_input(i) for i in range(found.num_inputs)],
             [found.get_output(i) for i in range(found.num_outputs)])
    NETWORKS[network].check(network, *({
        tensor.name: tuple(axis if axis >= 0 else None for axis in tensor.shape)
        for tensor in side} for side in sides))
    assert {tensor.dtype for side in sides for tensor in side} == {trt.float32}


@pytest.fixture(scope='module')
def ahead(tmp_path_factory):
    """A folder with the engines of both precisions for three capabilities."""
    folder = tmp_path_factory.mktemp('ahead') / 'engines'
    for precision in ('fp16', 'fp32'):
        build_ahead(MODELS_FOLDER, RTX, precision, folder, lambda text: None)
    return folder


def test_eight_engines_are_built_for_three_capabilities_without_a_gpu(ahead):
    assert len(list(ahead.glob('*.plan'))) == 2 * len(NETWORKS)
    for network in NETWORKS:
        sizes = []
        for precision in ('fp16', 'fp32'):
            made = recipe(network, precision)
            plan, reason = load_plan(ahead / made.file_name, made)
            assert plan is not None, reason
            assert plan[:4] == b'vtrt'
            sizes.append(len(plan))
        model = load_model(MODELS_FOLDER, network, False)
        convolutions = any(node.op_type == 'Conv' for node in model.graph.node)
        assert sizes[0] < 0.75 * sizes[1] if convolutions else sizes[0] == sizes[1]


def test_cards_describe_the_engines_and_are_readable_by_all_users(ahead):
    card = json.loads((ahead / 'head_pose.fp16.json').read_text())
    assert card['tensorrt'] == f'TensorRT for RTX {trt.__version__}'
    assert card['compute_capabilities'] == list(RTX) and card['gpu'] == ANY_GPU
    assert card['onnx_sha256'] == json.loads(
        (MODELS_FOLDER / 'head_pose.json').read_text())['sha256']
    assert card['shapes'] == [[1, 4, 96, 96], [8, 4, 96, 96]]
    assert {stat.S_IMODE(file.stat().st_mode) for file in ahead.iterdir()} == {0o644}
    assert stat.S_IMODE(ahead.stat().st_mode) == 0o755


def test_a_plan_is_for_the_batches_of_its_profile():
    data = load_model(MODELS_FOLDER, 'head_pose', True).SerializeToString()
    one, many = (built(data, replace(recipe(), shapes=((1, 4, 96, 96), (size, 4, 96, 96))))
                 for size in (1, 64))
    assert one[:4] == many[:4] == b'vtrt' and one != many


# ---- refusals: the texts are NVIDIA's


@pytest.mark.parametrize('data, reason', [
    (b'version https://git-lfs.github.com/spec/v1', 'Failed to parse the ONNX model'),
    (load_model(MODELS_FOLDER, 'head_pose', True).SerializeToString()[:100_000],
     'Failed to parse the ONNX model'),
    (small_model(onnx.helper.make_node('Frobnicate', ['x'], ['y'])).SerializeToString(),
     'Frobnicate.*Plugin not found')], ids=['pointer', 'cut off', 'operator'])
def test_errors_of_the_parser_are_passed_on(data, reason):
    with pytest.raises(EngineUnavailable, match=f'cannot read the network head_pose: .*{reason}'):
        built(data)


@pytest.mark.parametrize('smallest, largest, reason', [
    ((8, 4, 96, 96), (1, 4, 96, 96), r'refuses inputs of \(8, 4, 96, 96\) to \(1, .*MIN<=OPT<=MAX'),
    ((1, 3, 96, 96), (1, 3, 96, 96), 'no engine of head_pose: .*At dimension axis 1'),
    ((1, 4, 96), (8, 4, 96), 'no engine of head_pose: .*4 dimensions but profile 0 has 3')])
def test_a_refused_profile_is_passed_on(smallest, largest, reason):
    data = load_model(MODELS_FOLDER, 'head_pose', True).SerializeToString()
    with pytest.raises(EngineUnavailable, match=reason):
        built(data, replace(recipe(), shapes=(smallest, largest)))


@pytest.mark.parametrize('capability, reason', [
    ('9.0', r'does not support compute capability 9\.0, but 7\.5, .*12\.0'),
    ('7.5', r'built no engine of head_pose: .*Turing \(SM75\): FP32 GEMM is not supported')])
def test_gpus_that_the_library_does_not_support_are_refused(tmp_path, capability, reason):
    with pytest.raises(EngineUnavailable, match=reason):
        build_ahead(MODELS_FOLDER, (capability,), 'fp16', tmp_path, lambda text: None)
    assert not list(tmp_path.iterdir())  # no half set of engines


# ---- loading: every check passes, and then the library misses a driver


def install(monkeypatch, capability):
    cuda = FakeCuda(('Fake RTX', *capability))
    monkeypatch.setattr(trt_engine, 'open_cuda', lambda: cuda)
    monkeypatch.setitem(__import__('sys').modules, 'tensorrt', None)


def test_engines_built_ahead_are_loaded_and_never_built(ahead, monkeypatch, tmp_path):
    install(monkeypatch, (8, 9))
    monkeypatch.setenv(PREBUILT, str(ahead))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    reports = []
    with pytest.raises(EngineUnavailable, match='does not load the engine of head_finder: .*'
                                                'driver version is insufficient'):
        TensorRt(MODELS_FOLDER, report=reports.append)
    assert not reports and not list(tmp_path.rglob('*.plan'))


def test_engines_built_ahead_for_other_gpus_are_built_here(ahead, monkeypatch, tmp_path):
    install(monkeypatch, (12, 1))
    monkeypatch.setenv(PREBUILT, str(ahead))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    reports = []
    with pytest.raises(EngineUnavailable, match='driver version is insufficient'):
        TensorRt(MODELS_FOLDER, build=False, report=reports.append)
    assert 'it is for compute capability 8.6, 8.9, 12.0, expected 12.1' in reports[0]
    assert len(list(tmp_path.rglob('*.plan'))) == len(NETWORKS)


# ---- the command


def test_the_command_builds_ahead_and_lists_the_files(tmp_path, capsys):
    assert main(['build-engines', '--for', 'sm89', '--out', str(tmp_path / 'engines')]) == 0
    out = capsys.readouterr().out
    for network in NETWORKS:
        assert f'{network}.fp16.plan' in out
        assert (tmp_path / 'engines' / f'{network}.fp16.json').is_file()
    assert PREBUILT in out


@pytest.mark.parametrize('arguments, message', [
    (['--for', 'ada'], "'ada': expected compute capabilities, as sm86"),
    (['--for', 'sm90'], 'error: TensorRT for RTX'),
    (['--out', 'engines'], 'add --for')])
def test_wrong_options_are_one_line(arguments, message, capsys):
    try:
        status = main(['build-engines', *arguments])
    except SystemExit as error:
        status = error.code
    assert status == 2 and message in capsys.readouterr().err.splitlines()[-1]


# ---- parts of the build for other versions


@pytest.mark.parametrize('members, bits', [
    ({'EXPLICIT_BATCH': 0, 'EXPLICIT_PRECISION': 1}, 1),  # 8.6
    ({'EXPLICIT_BATCH': 0, 'STRONGLY_TYPED': 1}, 2),  # 10
    ({'STRONGLY_TYPED': 0, 'PREFER_JIT_PYTHON_PLUGINS': 1}, 1),  # 11
    ({}, 0)])
def test_types_of_the_file_and_a_batch_axis_are_requested_by_name(members, bits):
    flag = enum.IntEnum('NetworkDefinitionCreationFlag', members)
    assert build._network_flags(SimpleNamespace(NetworkDefinitionCreationFlag=flag)) == bits


def test_tensorrt_8_keeps_single_precision_where_the_file_has_it():
    network, _alive = parsed(load_model(MODELS_FOLDER, 'head_pose', True).SerializeToString())
    layers = [SimpleNamespace(type=layer.type, get_output=layer.get_output, precision=None)
              for layer in (network.get_layer(i) for i in range(network.num_layers))]
    old = SimpleNamespace(DataType=trt.DataType, LayerType=trt.LayerType,
                          NetworkDefinitionCreationFlag=(), BuilderFlag=SimpleNamespace(
                              FP16='FP16', PREFER_PRECISION_CONSTRAINTS='PREFER'))
    flags = set()
    build._permit_half(old, SimpleNamespace(get_layer=layers.__getitem__, num_layers=len(layers)),
                       SimpleNamespace(set_flag=flags.add))
    assert flags == {'FP16', 'PREFER'}
    half = {layer.get_output(0).dtype for layer in layers if layer.precision is None
            and layer.type != trt.LayerType.CAST}
    single = [layer for layer in layers if layer.precision == trt.DataType.FLOAT]
    assert trt.DataType.HALF in half and trt.DataType.FLOAT not in half
    assert 0 < len(single) < len(layers)
