# SPDX-License-Identifier: Apache-2.0
"""Engines that open return results; others report the reason."""
from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from depthface_ros import engines
from depthface_ros.engines import MODELS_FOLDER, EngineUnavailable, open_engine
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.model_file import load_model

pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def cpu():
    return open_engine('cpu')[0]


@pytest.mark.parametrize('network', NETWORKS)
def test_outputs_have_the_shapes_of_the_contract_for_any_batch(cpu, network):
    contract = NETWORKS[network]
    for count, shape in itertools.product((1, 3), contract.input_shapes):
        outputs = cpu.run(network, np.zeros((count, *shape), np.float32))
        assert outputs.keys() == contract.outputs.keys()
        for name, shape in contract.outputs.items():
            assert outputs[name].dtype == np.float32 and outputs[name].shape[0] == count
            assert all(e in (None, f) for f, e in zip(outputs[name].shape[1:], shape))


@pytest.mark.parametrize('network', NETWORKS)
def test_samples_of_a_batch_do_not_depend_on_each_other(cpu, network):
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(3, *NETWORKS[network].input_shapes[0])).astype(np.float32)
    together = cpu.run(network, batch)
    for i in range(3):
        alone = cpu.run(network, batch[i:i + 1])
        for name in together:
            np.testing.assert_allclose(together[name][i], alone[name][0], rtol=1e-3, atol=1e-4)


def test_auto_opens_the_first_working_engine_and_reports_why_others_failed(monkeypatch):
    for package in ('cuda.bindings', 'depthface_ros.engines.torch.cuda_engine'):
        monkeypatch.setitem(sys.modules, package, None)
    engine, skipped = open_engine('auto')
    assert engine.name == 'cpu'
    assert [name for name, _ in skipped] == ['tensorrt', 'cuda'] and all(reason for _, reason in skipped)


def test_auto_does_not_load_pytorch_where_there_is_no_driver():
    done = subprocess.run([sys.executable, '-c', (
        'import sys, ctypes\n'
        'from depthface_ros.engines import open_engine\n'
        'open_engine()\n'
        'try:\n'
        '    ctypes.CDLL("libcuda.so.1")\n'
        'except OSError:\n'
        '    assert "torch" not in sys.modules\n')], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('name, missing', [
    ('cuda', 'depthface_ros.engines.torch.cuda_engine'), ('tensorrt', 'cuda.bindings')])
def test_a_missing_package_of_an_engine_is_reported_with_its_installation(monkeypatch, name, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(EngineUnavailable, match=f'engine {name}: .*pip install'):
        open_engine(name)


def test_an_unknown_engine_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match="'gpu'.*'cpu'"):
        open_engine('gpu')


@pytest.mark.parametrize('convert', [str, Path])
@pytest.mark.parametrize('engine', ['cpu', 'cpu_fp32', 'auto'])
def test_the_folder_of_the_networks_is_a_text_or_a_path(models, convert, engine):
    assert open_engine(engine, convert(models))[0].name.startswith('cpu')


def test_missing_broken_and_wrong_model_files_are_named(models, tmp_path):
    with pytest.raises(EngineUnavailable, match='head_finder.onnx is missing'):
        open_engine('cpu', tmp_path)
    for engine in ('auto', 'cpu_fp32', 'tensorrt'):  # the folder is the cause, no engine
        with pytest.raises(EngineUnavailable, match=f'^{tmp_path}/no/head_finder.onnx is missing: '):
            open_engine(engine, tmp_path / 'no')
    (models / 'head_pose.int8.onnx').unlink()
    (models / 'head_pose.onnx').write_bytes(b'version https://git-lfs.github.com/spec/v1')
    with pytest.raises(EngineUnavailable, match='head_pose.onnx does not load'):
        open_engine('auto', models)
    shutil.copy(MODELS_FOLDER / 'face_shape.onnx', models / 'head_pose.onnx')
    with pytest.raises(ValueError, match='head_pose.onnx: outputs .*offsets.*expected .*sellion'):
        open_engine('cpu', models)


@pytest.mark.parametrize('spoil, message', [
    (lambda file: file.unlink(), 'head_pose.onnx is missing'),
    (lambda file: file.write_bytes(b''), "head_pose.onnx: inputs {}: expected {'crop'"),
    (lambda file: file.write_bytes(b'version https://git-lfs'), 'head_pose.onnx does not load: ')])
@pytest.mark.parametrize('half', [False, True])
def test_gpu_engines_name_missing_and_broken_files(models, spoil, message, half):
    pytest.importorskip('onnx')
    spoil(models / 'head_pose.onnx')
    with pytest.raises((EngineUnavailable, ValueError), match=message):
        load_model(models, 'head_pose', half)


@pytest.mark.parametrize('error', [OSError(30, 'Read-only file system'), RuntimeError('no home')])
def test_auto_opens_the_next_engine_after_any_failure(monkeypatch, error):
    class Failing:
        def __init__(self, *arguments):
            raise error

    monkeypatch.setattr(engines, '_has_nvidia_driver', lambda: True)
    monkeypatch.setattr('depthface_ros.engines.tensorrt.trt_engine.TensorRt', Failing)
    monkeypatch.setattr('depthface_ros.engines.torch.cuda_engine.TorchCuda', Failing)
    engine, skipped = open_engine('auto')
    assert engine.name == 'cpu'
    assert dict(skipped) == {'tensorrt': str(error), 'cuda': str(error)}
