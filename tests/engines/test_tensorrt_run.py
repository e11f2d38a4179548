# SPDX-License-Identifier: Apache-2.0
"""TensorRT plans run, on strict stand-ins for the runtimes of TensorRT and CUDA."""
from __future__ import annotations

import logging
import sys
import threading

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from fake_cuda import cudaError_t
from fake_tensorrt import NAMES, RTX
from tensorrt_machine import Machine

from depthface_ros.engines import EngineUnavailable, open_engine
from depthface_ros.engines.contract import NETWORKS


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


@pytest.mark.parametrize('flavour', NAMES)
@pytest.mark.parametrize('precision, tolerance', [('fp32', 1e-5), ('fp16', 1e-2)])
def test_every_version_agrees_with_the_cpu(machine, cpu, flavour, precision, tolerance):
    engine = machine.install(flavour).open(precision=precision)
    for network, contract in NETWORKS.items():
        for shape in contract.input_shapes:
            x = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
            for _ in range(2):  # the second is the graph's
                assert_close(engine.run(network, x), cpu.run(network, x), tolerance)
    assert machine.cuda._launches > 0
    gpu = 'TensorRT for RTX 1.7.1.116' if flavour == RTX else f'TensorRT {flavour}'
    assert gpu in engine.description and machine.cuda._gpu[0] in engine.description


def test_batches_of_any_size_are_answered_and_large_ones_in_pieces(machine, cpu):
    engine = machine.open(precision='fp32')
    for count in (1, 3, 8, 3, 11):
        x = crops(count)
        assert_close(engine.run('head_pose', x), cpu.run('head_pose', x), 1e-5)


def test_outputs_stay_when_the_next_batch_runs(machine):
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
    for i, outputs in found.items():
        assert_close(outputs, cpu.run('head_pose', crops(i)), 1e-5)
    assert len(found) == 4


# ---- what can fail at the start


def test_without_cuda_no_tensorrt_object_is_ever_made(machine):
    machine.cuda._driver = 0
    machine.cuda._fail['cudaGetDeviceCount'] = cudaError_t.cudaErrorInsufficientDriver
    with pytest.raises(EngineUnavailable, match='CUDA 12.6 does not start: text of '
                                                'cudaErrorInsuff.*there is no NVIDIA driver'):
        machine.open()
    machine.cuda._driver = 11080
    with pytest.raises(EngineUnavailable, match='the driver supports CUDA 11.8'):
        machine.open()
    assert not machine.trt._state.made


def test_missing_packages_are_named(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    with pytest.raises(EngineUnavailable, match='does not load: .*tensorrt.*tensorrt_rtx.*pip inst'):
        machine.open()
    monkeypatch.setitem(sys.modules, 'cuda.bindings', None)
    with pytest.raises(EngineUnavailable, match='pip install "cuda-bindings'):
        machine.open()


def test_an_old_tensorrt_is_refused_and_tensorrt_for_rtx_is_taken(machine, monkeypatch):
    old = machine.trt
    del old.HardwareCompatibilityLevel
    old.__version__ = '8.5.3.1'
    with pytest.raises(EngineUnavailable, match=r'TensorRT 8\.5\.3\.1 is too old: expected 8\.6'):
        machine.open()
    machine.install(RTX)
    monkeypatch.setitem(sys.modules, 'tensorrt', old)
    assert 'TensorRT for RTX' in machine.open().description


@pytest.mark.parametrize('flavour', ['10.3.0', RTX])
@pytest.mark.parametrize('call, message', [
    ('Runtime', 'TensorRT does not start: .*nullptr'),
    ('deserialize_cuda_engine', 'does not load the engine of head_finder: .*on command'),
    ('create_execution_context', 'head_finder has no execution context: .*on command'),
    ('set_input_shape', r'head_finder does not take an input of \(1, 4, 120, 224\)'),
    ('infer_shapes', 'head_finder cannot compute its shapes without the shape of crop')])
def test_each_failure_at_the_start_has_its_own_message(machine, flavour, call, message):
    machine.install(flavour)
    machine.fail[call] = 1
    with pytest.raises((EngineUnavailable, RuntimeError), match=message):
        machine.open()


@pytest.mark.parametrize('function', [
    'cudaStreamCreateWithFlags', 'cudaMalloc', 'cudaHostAlloc', 'cudaGetDeviceProperties'])
def test_cuda_failures_at_the_start_name_the_call(machine, function):
    machine.cuda._fail[function] = cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises((EngineUnavailable, RuntimeError),
                       match=f'{function}: text of cudaErrorMemoryAllocation'):
        machine.open()


# ---- what can fail at a run


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


def test_a_failed_first_run_makes_an_engine_unavailable(machine):
    machine.fail['execute_async_v3'] = 'always'
    with pytest.raises(EngineUnavailable, match='tensorrt.*did not run an input'):
        open_engine('tensorrt')


@pytest.mark.parametrize('function', ['cudaMemcpyAsync', 'cudaStreamSynchronize'])
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


# ---- the kernels that TensorRT for RTX compiles


def test_compiled_kernels_are_kept_for_the_next_start(machine):
    machine.install(RTX).open().run('head_pose', crops(3))
    assert machine.trt._state.compiled == 1
    engine = machine.install(RTX).open()
    engine.run('head_pose', crops(3))
    assert machine.trt._state.compiled == 0
    engine.run('head_pose', crops(2))
    assert machine.trt._state.compiled == 1
    machine.install(RTX).open().run('head_pose', crops(2))
    assert machine.trt._state.compiled == 0


def test_kernels_of_another_gpu_are_compiled_again(machine):
    machine.install(RTX).open().run('head_pose', crops(1))
    other = machine.cache
    machine.install(RTX, ('Fake RTX 5090', 12, 0)).open()
    (machine.cache / 'head_pose.fp16.kernels').write_bytes(
        (other / 'head_pose.fp16.kernels').read_bytes())
    machine.install(RTX, ('Fake RTX 5090', 12, 0)).open().run('head_pose', crops(1))
    assert machine.trt._state.compiled == 1


def test_kernels_that_others_may_write_to_are_refused(machine):
    machine.install(RTX).open().run('head_pose', crops(1))
    (machine.cache / 'head_pose.fp16.kernels').chmod(0o666)
    with pytest.raises(EngineUnavailable, match='head_pose.fp16.kernels is not trusted'):
        machine.install(RTX).open()


def test_other_tensorrts_keep_no_kernels(machine):
    machine.open().run('head_pose', crops(1))
    assert not list(machine.cache.glob('*.kernels'))
