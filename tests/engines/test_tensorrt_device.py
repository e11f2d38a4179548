# SPDX-License-Identifier: Apache-2.0
"""TensorRT's networks in stages on tensors: stand-ins for TensorRT and CUDA, PyTorch's CPU."""
from __future__ import annotations

import ctypes

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('rosbags')
from sample_frames import assert_same_faces, sample_frames
from tensorrt_machine import Machine

from depthface_ros import FaceEstimator
from depthface_ros.engines import DeviceEngine, open_engine
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.tensorrt.torch_trt_engine import TensorRtOnTensors

STREAM = 0x7000


class OnStandIns(TensorRtOnTensors):
    """Shares the tensors' memory with the stand-in for CUDA, and waits for its stream."""

    def __init__(self, engine, cuda):
        super().__init__(engine, 'cpu')
        self.cuda = cuda
        cuda._streams[STREAM] = []

    def _enqueue(self, runner, tensor, outputs):
        for each in (tensor, *outputs.values()):
            memory = (ctypes.c_char * (4 * each.numel())).from_address(each.data_ptr())
            self.cuda._device[each.data_ptr()] = memory
        super()._enqueue(runner, tensor, outputs)
        self.cuda.cudaStreamSynchronize(STREAM)


@pytest.fixture
def engine(monkeypatch, tmp_path):
    machine = Machine(monkeypatch, tmp_path)
    monkeypatch.setattr(torch.cuda, 'current_stream',
                        lambda: type('Stream', (), {'cuda_stream': STREAM}))
    return OnStandIns(machine.open(precision='fp32'), machine.cuda), machine


def test_faces_are_those_of_the_cpu(engine):
    frame = sample_frames(every=60)[0]
    expected = FaceEstimator('cpu_fp32')
    faces = expected(*frame)
    assert faces
    assert isinstance(engine[0], DeviceEngine)
    estimator = FaceEstimator(engine[0], calibration=expected.calibration)
    assert_same_faces(estimator(*frame), faces)


def test_tensors_and_arrays_give_equal_results_and_large_batches_run_in_pieces(engine):
    for count in (1, 11):
        x = np.random.default_rng(0).normal(size=(count, 4, 96, 96)).astype(np.float32)
        arrays, tensors = (engine[0].run('head_pose', each) for each in (x, torch.tensor(x)))
        assert tensors.keys() == NETWORKS['head_pose'].outputs.keys()
        for name, value in tensors.items():
            np.testing.assert_allclose(value.numpy(), arrays[name], atol=1e-5)


def test_a_refusal_is_an_error(engine):
    trt, machine = engine
    machine.fail['execute_async_v3'] = 'always'
    with pytest.raises(RuntimeError, match='head_pose did not run an input of'):
        trt.run('head_pose', torch.zeros(1, 4, 96, 96))


def test_without_a_gpu_for_pytorch_tensorrt_runs_all_the_same(engine, monkeypatch):
    machine = engine[1]
    machine.open()
    monkeypatch.setattr(torch.version, 'cuda', None)
    found, _ = open_engine('tensorrt')
    assert found.name == 'tensorrt' and not isinstance(found, DeviceEngine)
