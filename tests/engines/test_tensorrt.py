# SPDX-License-Identifier: Apache-2.0
"""The TensorRT engine on strict stand-ins for TensorRT 8.6, 10 and 11 and for CUDA."""
from __future__ import annotations

import logging
import sys
import threading

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

import fake_tensorrt
from fake_cuda import cudaError_t
from tensorrt_machine import Machine

from depthface_ros.engines import MODELS_FOLDER, EngineUnavailable, open_engine
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.tensorrt import build
from depthface_ros.engines.tensorrt.trt_engine import TensorRt

FLAVOURS = list(fake_tensorrt.NAMES)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    return Machine(monkeypatch, tmp_path)


def crops(count, network='head_pose'):
    shape = NETWORKS[network].input_shapes[0]
    return np.random.default_rng(count).normal(size=(count, *shape)).astype(np.float32)


@pytest.fixture(scope='module')
def cpu():
    return open_engine('cpu_fp32')[0]


def assert_close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=tolerance)


@pytest.mark.parametrize('flavour', FLAVOURS)
@pytest.mark.parametrize('precision, tolerance', [('fp32', 1e-5), ('fp16', 1e-2)])
def test_every_version_gives_what_the_cpu_gives(machine, cpu, flavour, precision, tolerance):
    engine = machine.install(flavour).open(precision=precision)
    for network, contract in NETWORKS.items():
        for shape in contract.input_shapes:
            x = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
            for _ in range(2):  # the second is the graph's
                assert_close(engine.run(network, x), cpu.run(network, x), tolerance)
    assert machine.cuda._launches > 0
    assert machine.trt.__version__ in engine.description and 'Fake Orin' in engine.description


def test_each_version_is_told_types_its_own_way(machine):
    for flavour, flags in {'8.6.1': {'EXPLICIT_BATCH'}, '10.3.0': {'STRONGLY_TYPED'},
                           '11.4.0': set()}.items():
        machine.install(flavour).open()
        assert machine.trt._state.flags == flags


def test_batches_of_any_size_are_answered_and_large_ones_in_pieces(machine, cpu):
    engine = machine.open(precision='fp32')
    for count in (1, 3, 8, 3, 11):
        x = crops(count)
        assert_close(engine.run('head_pose', x), cpu.run('head_pose', x), 1e-5)


def test_answers_stay_what_they_were_when_the_next_batch_runs(machine):
    engine = machine.open()
    first = engine.run('head_pose', crops(2))
    kept = {name: value.copy() for name, value in first.items()}
    engine.run('head_pose', -crops(2))
    assert_close(first, kept, 0)


def test_threads_may_share_an_engine(machine, cpu):
    engine, found = machine.open(precision='fp32'), {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: engine.run(
        'head_pose', crops(i))})) for i in (1, 2, 3, 4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for i, answer in found.items():
        assert_close(answer, cpu.run('head_pose', crops(i)), 1e-5)
    assert len(found) == 4


def test_without_cuda_no_tensorrt_object_is_ever_made(machine):
    machine.cuda._driver = 0
    machine.cuda._fail['cudaGetDeviceCount'] = cudaError_t.cudaErrorInsufficientDriver
    with pytest.raises(EngineUnavailable, match='CUDA 12.6 does not start: text of '
                                                'cudaErrorInsufficientDriver.*0.0 means'):
        machine.open()
    assert not machine.trt._state.made


@pytest.mark.parametrize('module, message', [
    ('cuda.bindings', 'pip install "cuda-bindings'), ('tensorrt', 'TensorRT does not load')])
def test_missing_packages_are_named(machine, monkeypatch, module, message):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineUnavailable, match=message):
        machine.open()


def test_an_old_tensorrt_is_refused(machine):
    type(machine.trt).__version__ = '8.5.3.1'
    with pytest.raises(EngineUnavailable, match=r'TensorRT 8\.5\.3\.1 is too old: expected 8\.6'):
        machine.open()


@pytest.mark.parametrize('flavour', FLAVOURS)
@pytest.mark.parametrize('call, value, message', [
    ('Builder', 1, 'TensorRT does not start: .*nullptr'),
    ('parse', 1, 'cannot read the network: parser error 0; parser error 1'),
    ('add_optimization_profile', 1, r'refuses inputs of \(1, 4, 120, 160\) to .*on command'),
    ('build_serialized_network', 1, 'built no engine: .build_serialized_network. failed'),
    ('Runtime', 1, 'TensorRT does not start: .*nullptr'),
    ('deserialize_cuda_engine', 1, 'does not load the engine of head_finder: .*on command'),
    ('create_execution_context', 1, 'head_finder has no execution context: .*on command'),
    ('set_input_shape', 1, r'head_finder does not take an input of \(1, 4, 120, 224\)'),
    ('infer_shapes', 1, 'head_finder cannot tell its shapes without the shape of crop'),
    ('get_tensor_dtype', 1, 'head_finder: point_map is DataType.HALF, expected FLOAT'),
    ('get_tensor_name', 'else', "engine of network head_finder: inputs {}: expected"),
])
def test_each_failure_at_the_start_has_its_own_message(machine, flavour, call, value, message):
    machine.install(flavour)
    machine.fail[call] = value
    with pytest.raises((EngineUnavailable, RuntimeError), match=message):
        machine.open()


@pytest.mark.parametrize('call, value, message', [
    ('set_tensor_address', 1, 'head_pose does not take the memory for crop: .*on command'),
    ('execute_async_v3', 'always', r'head_pose did not run an input of \(1, 4, 96, 96\): .*comm'),
])
def test_each_failure_of_a_run_has_its_own_message(machine, call, value, message):
    engine = machine.open()
    machine.fail[call] = value
    with pytest.raises(RuntimeError, match=message):
        engine.run('head_pose', crops(1))
    machine.fail.clear()
    engine.run('head_pose', crops(1))  # and the next run may succeed


def test_what_fails_at_the_first_run_makes_an_engine_unavailable(machine):
    machine.fail['execute_async_v3'] = 'always'
    with pytest.raises(EngineUnavailable, match='tensorrt.*did not run an input'):
        open_engine('tensorrt')


@pytest.mark.parametrize('function', [
    'cudaStreamCreateWithFlags', 'cudaMalloc', 'cudaHostAlloc', 'cudaGetDeviceProperties'])
def test_cuda_failures_at_the_start_name_the_call(machine, function):
    machine.cuda._fail[function] = cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises((EngineUnavailable, RuntimeError),
                       match=f'{function}: text of cudaErrorMemoryAllocation'):
        machine.open()


@pytest.mark.parametrize('function', [
    'cudaMemcpyAsync', 'cudaStreamSynchronize'])
def test_cuda_failures_of_a_run_name_the_call(machine, function):
    engine = machine.open()
    machine.cuda._fail[function] = cudaError_t.cudaErrorInvalidValue
    with pytest.raises(RuntimeError, match=f'{function}: text of cudaErrorInvalidValue'):
        engine.run('head_pose', crops(1))


@pytest.mark.parametrize('spoil, message', [
    (lambda m: m.fail.update(execute_async_v3='captured'), 'did not run'),
    *((lambda m, f=f: m.cuda._fail.update({f: cudaError_t.cudaErrorStreamCaptureUnsupported}),
       f) for f in ('cudaStreamBeginCapture', 'cudaStreamEndCapture',
                    'cudaGraphInstantiateWithFlags'))])
def test_without_a_graph_it_runs_step_by_step(machine, cpu, caplog, spoil, message):
    engine = machine.open(precision='fp32')
    spoil(machine)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert_close(engine.run('head_pose', crops(2)), cpu.run('head_pose', crops(2)), 1e-5)
    assert machine.cuda._launches == 0
    record, = [r for r in caplog.records if 'no CUDA graph' in r.message]
    assert message in record.message


def test_a_refused_timing_cache_is_no_failure(machine):
    machine.fail['set_timing_cache'] = 1
    machine.open()
    assert any('takes no timing cache' in text for text in machine.reports)


@pytest.mark.parametrize('flavour, phase', [
    ('8.6.1', ''), ('11.4.0', ', Building Engine: step 1 of 2')])
def test_a_build_tells_how_far_it_is(machine, monkeypatch, flavour, phase):
    machine.install(flavour)
    monkeypatch.setattr(build, 'TICK', 0.001)
    told = threading.Event()

    class Reports(list):
        def append(self, text):
            super().append(text)
            if text.startswith('head_pose: building for 0 s' + phase):
                told.set()

    machine.reports = Reports()
    machine.trt._state.while_building = lambda: told.wait(0.2)
    machine.open()
    assert told.is_set()


def test_missing_models_are_named(machine, tmp_path):
    with pytest.raises(EngineUnavailable, match='head_finder.onnx is missing'):
        TensorRt(tmp_path)


def test_an_unknown_precision_is_an_error():
    with pytest.raises(ValueError, match="'int8'.*'fp16'"):
        TensorRt(MODELS_FOLDER, precision='int8')
