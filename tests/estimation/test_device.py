# SPDX-License-Identifier: Apache-2.0
"""The pipeline on a device: the same faces as on numpy, without operations that wait for a GPU.

The device is PyTorch's CPU, or its device 'meta', whose tensors hold no numbers.
"""
from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
from sample_frames import assert_same_faces, sample_frames
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.engines.torch.cuda_engine import TorchCuda
from depthface_ros.estimation.calibration import Calibration
from depthface_ros.tools import bench

DISTORTED = Intrinsics(500., 505., 318., 243., (0.1, -0.05, 1e-3, -1e-3, 0.01))
WAITING = {'aten::_local_scalar_dense', 'aten::nonzero', 'aten::_linalg_check_errors',
           'aten::is_nonzero', 'aten::equal', 'aten::masked_select'}


@pytest.fixture(scope='module')
def on_numpy():
    return FaceEstimator('cpu_fp32')


@pytest.fixture(scope='module')
def on_device():
    return FaceEstimator(TorchCuda(MODELS_FOLDER, device='cpu'),
                         calibration=Calibration.load(MODELS_FOLDER))


# a fraction of the documented 0.1 degrees and 0.2 mm
NEAR = {'degrees': 0.03, 'millimetres': 0.05, 'expression': 5e-4}


@pytest.fixture(scope='module')
def frames():
    pytest.importorskip('rosbags')
    return sample_frames(every=8)


def test_faces_of_a_recording_are_the_same(on_numpy, on_device, frames):
    seen = 0
    for depth, camera in frames:
        expected = on_numpy(depth, camera)
        assert_same_faces(on_device(depth, camera), expected, **NEAR)
        seen += len(expected)
    assert seen >= len(frames)


def test_so_they_are_of_images_in_metres_and_through_a_lens(on_numpy, on_device, frames):
    depth, camera = frames[0]
    metres = np.where(depth, depth * np.float32(0.001), np.nan).astype(np.float32)
    assert_same_faces(on_device(metres, camera), on_numpy(metres, camera), **NEAR)
    lens = Intrinsics(camera.fx, camera.fy, camera.cx, camera.cy, DISTORTED.distortion)
    expected = on_numpy(depth, lens)
    assert expected
    assert_same_faces(on_device(depth, lens), expected, **NEAR)


def test_given_candidates_replace_the_detector(on_numpy, on_device, frames):
    depth, camera = frames[0]
    heads = on_numpy.find_heads(depth, camera)
    found = on_device.find_heads(depth, camera)
    np.testing.assert_allclose(found.centres, heads.centres, atol=1e-4)
    assert_same_faces(on_device(depth, camera, heads), on_numpy(depth, camera, heads), **NEAR)


def test_faces_are_unchanged_by_the_next_image(on_device, frames):
    (depth, camera), (other, _) = frames[:2]
    faces = on_device(depth, camera)
    kept = [face.vertices.copy() for face in faces]
    on_device(other, camera)
    for face, vertices in zip(faces, kept):
        np.testing.assert_array_equal(face.vertices, vertices)


def test_images_without_a_measurement_hold_no_faces(on_device):
    assert on_device(np.zeros((240, 320), np.uint16), Intrinsics(200, 200, 160, 120)) == []


def test_a_bench_finds_the_heads_that_were_drawn(on_numpy, on_device):
    depth, centres = bench.drawn_frame(3)
    for estimator in (on_numpy, on_device):
        faces = bench.KnownHeads(estimator.engine, centres)(depth, bench.CAMERA)
        assert len(faces) == 3


class NeverWaits(TorchDispatchMode):
    """Fails at operations that wait for the GPU, which no graph can hold."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.count += 1
        assert function.name().split('.')[0] not in WAITING, f'{function.name()} waits'
        result = function(*args, **kwargs)
        used = [x for x in torch.utils._pytree.tree_leaves((args, kwargs, result))
                if isinstance(x, torch.Tensor)]
        kinds = {x.device.type for x in used if x.ndim}
        assert kinds <= {'meta'}, f'{function.name()} is on {kinds}'
        return result


class NothingFromTheHost(TorchFunctionMode):
    """Fails when numbers of the host become a tensor: no graph can hold their upload."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        made = function in (torch.asarray, torch.tensor, torch.as_tensor, torch.from_numpy)
        assert not made or isinstance(args[0], torch.Tensor), f'{function} of {args[0]}'
        return function(*args, **(kwargs or {}))


class Pretended:
    """The engine's networks and constants on a device without numbers."""

    def __init__(self, real):
        self._networks = {name: self._move(function) for name, function in
                          real._networks.items()}
        self.name = self.description = 'pretended'

    def _move(self, function):
        moved = object.__new__(type(function))
        moved.__dict__.update(function.__dict__)
        moved._constants = {
            name: torch.empty(value.shape, dtype=value.dtype, device='meta')
            if isinstance(value, torch.Tensor) else value
            for name, value in function._constants.items()}
        return moved

    def run(self, network, tensor):
        return self._networks[network](tensor)

    def constant(self, array):
        return torch.empty(array.shape, dtype=getattr(torch, array.dtype.name), device='meta')

    def upload(self, depth):
        raise NotImplementedError  # stages are called here without it

    compute = upload


@pytest.mark.parametrize('camera', [Intrinsics(500., 505., 318., 243.), DISTORTED])
def test_no_stage_makes_a_gpu_wait_or_mixes_devices(on_device, camera):
    estimator = FaceEstimator(Pretended(on_device.engine))
    depth = torch.empty((480, 640), device='meta')
    poses, std = torch.empty((3, 4, 4), device='meta'), torch.empty(3, device='meta')

    def all_stages():
        estimator._detector_stage(depth, camera)
        estimator._pose_stage(depth, camera, poses)
        return estimator._fitting.fit(depth, camera, poses, std, std)

    all_stages()  # fills caches, as calls before a capture do
    with NeverWaits() as watch, NothingFromTheHost():
        _, vertices, *_ = all_stages()
    assert watch.count > 100
    assert vertices.device.type == 'meta'
    assert vertices.shape == (3, *on_device.face_model.template.shape)


@pytest.mark.parametrize('waits', [
    lambda x: torch.linalg.solve(x, x), lambda x: bool(x.any()), lambda x: x[x > 0],
    lambda x: torch.asarray([1., 2., 3.], device='meta') * x, lambda x: int(x.max())])
def test_the_guard_detects_operations_that_wait(waits):
    refused = pytest.raises((AssertionError, RuntimeError, NotImplementedError))
    with refused, NeverWaits(), NothingFromTheHost():
        waits(torch.empty(3, 3, device='meta'))
