# SPDX-License-Identifier: Apache-2.0
"""Agreement of the GPU engines with the CPU: `pytest -m gpu`; skipped without a usable GPU."""
from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu
# Tolerances: degrees, millimetres, and of expression coefficients. These depend on distances of a
# millimetre, which half precision rounds.
FP32, FP16 = (0.1, 0.2), (1, 3, 0.05)
DEVICES = ('/dev/nvidiactl', '/dev/nvhost-gpu', '/dev/nvgpu', '/dev/dxg')


def probe(code: str) -> None:
    """Skip the test unless this code runs; in a process of its own, for it may crash."""
    if not any(map(os.path.exists, DEVICES)):
        pytest.skip('no device of an NVIDIA driver')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          cwd=Path(__file__).resolve().parents[2])
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f'status {done.returncode}'])[-1]
        pytest.skip(f'{code!r}: {last}')


@pytest.fixture(scope='module')
def frames():
    from sample_frames import sample_frames
    return sample_frames(every=8)


@pytest.fixture(scope='module')
def expected(frames):
    from depthface_ros import FaceEstimator
    estimator = FaceEstimator('cpu_fp32')
    return [estimator(*frame) for frame in frames]


@pytest.mark.parametrize('name, limits', [('cuda', FP32), ('cuda_fp16', FP16)])
def test_pytorch_agrees_with_the_cpu_and_uses_graphs(frames, expected, caplog, name, limits):
    probe('import torch; torch.zeros(1, device="cuda").item()')
    from sample_frames import assert_same_faces

    from depthface_ros import FaceEstimator
    with caplog.at_level(logging.WARNING):
        estimator = FaceEstimator(name)
        for frame, faces in zip(frames, expected):
            assert_same_faces(estimator(*frame), faces, *limits)
    assert not caplog.records, caplog.text  # without a CUDA graph there is a warning


@pytest.mark.parametrize('name, limits', [('tensorrt_fp32', FP32), ('tensorrt', FP16)])
def test_tensorrt_agrees_with_the_cpu_and_uses_graphs(frames, expected, caplog, tmp_path,
                                                      monkeypatch, name, limits):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    probe('from depthface_ros.engines.tensorrt import api, cuda_runtime\n'
          'cuda_runtime.open_cuda(), api.open_tensorrt()')
    precision = 'fp32' if name.endswith('fp32') else 'fp16'
    subprocess.run([sys.executable, '-m', 'depthface_ros.cli', 'build-engines', '--precision',
                    precision], check=True, cwd=Path(__file__).resolve().parents[2])
    from sample_frames import assert_same_faces

    from depthface_ros import FaceEstimator
    with caplog.at_level(logging.WARNING):
        estimator = FaceEstimator(name)
        for frame, faces in zip(frames, expected):
            assert_same_faces(estimator(*frame), faces, *limits)
    assert not caplog.records, caplog.text
