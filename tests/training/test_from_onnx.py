# SPDX-License-Identifier: Apache-2.0
"""Shipped ONNX files are converted back to trainable networks."""
from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('onnx')

from depthface_ros.engines import MODELS_FOLDER, open_engine
from depthface_ros.engines.contract import NETWORKS
from training.models.export import PROBABILITIES
from training.models.from_onnx import first_weights, load_onnx


def typical(name):
    sizes = [size or 160 for size in NETWORKS[name].input_shape]
    return torch.randn(4, *sizes, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('name', NETWORKS)
def test_a_network_from_a_file_computes_the_same_as_the_file(name):
    inputs = typical(name)
    network = load_onnx(name, MODELS_FOLDER / f'{name}.onnx', inputs)
    answer = open_engine('cpu_fp32', MODELS_FOLDER)[0].run(name, inputs.numpy())
    with torch.no_grad():
        outputs = dict(zip(network.outputs, network(inputs)))
    for each, values in outputs.items():
        values = torch.sigmoid(values) if each in PROBABILITIES else values
        np.testing.assert_allclose(values.numpy(), answer[each], atol=2e-5)


def test_the_file_of_another_network_is_refused():
    with pytest.raises(ValueError, match='does not hold the head_pose network'):
        load_onnx('head_pose', MODELS_FOLDER / 'face_shape.onnx', typical('face_shape'))


def test_training_starts_from_a_folder_of_files_or_from_nothing():
    started = first_weights('head_pose', MODELS_FOLDER, lambda: typical('head_pose'))
    new = first_weights('head_pose', None, lambda: pytest.fail('a new network needs no input'))
    assert started.pose.bias.shape == new.pose.bias.shape
    assert not torch.equal(started.pose.bias, new.pose.bias)
