# SPDX-License-Identifier: Apache-2.0
"""Averaged weights lie between two networks, and the result runs."""
from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from depthface_ros.engines import MODELS_FOLDER, open_engine
from training.__main__ import main
from training.models.average import averaged_file, averaged_network

NAME = 'face_refiner'


@pytest.fixture(scope='module')
def untrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('untrained')
    main(['export', '--untrained', '--networks', NAME, '--out', str(folder)])
    return folder


def outputs(folder):
    crops = np.random.default_rng(0).normal(size=(2, 1388)).astype(np.float32)
    return open_engine('cpu', folder)[0].run(NAME, crops)['correction']


def test_shares_of_nothing_and_all_are_the_two_networks(untrained, tmp_path):
    for share, same in ((0, MODELS_FOLDER), (1, untrained)):
        out = tmp_path / str(share)
        shutil.copytree(MODELS_FOLDER, out)
        main(['average', NAME, '--after', str(untrained), '--share', str(share), '--out', str(out)])
        expected = tmp_path / f'expected-{share}'
        shutil.copytree(MODELS_FOLDER, expected)
        shutil.copy(same / f'{NAME}.onnx', expected / f'{NAME}.onnx')
        np.testing.assert_allclose(outputs(out), outputs(expected), atol=1e-5)
    card = json.loads((out / f'{NAME}.json').read_text())
    assert card['averaged'].startswith('1 of the weights')


def test_different_networks_and_impossible_shares_are_refused(untrained):
    with pytest.raises(ValueError, match='different weights'):
        averaged_file(MODELS_FOLDER / 'head_pose.onnx', untrained / f'{NAME}.onnx', 0.5)
    with pytest.raises(ValueError, match='expected a number in 0..1'):
        averaged_file(MODELS_FOLDER / f'{NAME}.onnx', untrained / f'{NAME}.onnx', 1.5)


def test_networks_are_averaged_as_files_are(tmp_path):
    """Parameters are averaged, statistics are those after the training, no argument changes."""
    torch.manual_seed(0)
    before, after = (torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
                     for _ in range(2))
    after[1].running_mean += 5.
    weights = before[0].weight.clone(), after[0].weight.clone()
    mean = averaged_network(before, after, 0.25)
    torch.testing.assert_close(mean[0].weight, 0.75 * weights[0] + 0.25 * weights[1])
    torch.testing.assert_close(mean[1].running_mean, torch.full((2,), 5.))
    torch.testing.assert_close((before[0].weight, after[0].weight), weights)
    with pytest.raises(ValueError, match='different weights'):
        averaged_network(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), 0.5)
