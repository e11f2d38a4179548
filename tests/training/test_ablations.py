# SPDX-License-Identifier: Apache-2.0
"""Variants of a network match their names, and one command trains them."""
from __future__ import annotations

import json

import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('rosbags')

from drawn_faces import crops_at, write_pool

from training.__main__ import main
from training.experiments.__main__ import COMMANDS
from training.experiments.ablations import VARIANTS
from training.models.networks import HeadPoseNet
from training.train.pose import pose_loss


@pytest.fixture(scope='module')
def pools(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pools')
    for split in ('train', 'validation'):
        write_pool(folder, split, copies=14)  # a basis takes some
    return folder


def pose_batch(count):
    crops = crops_at(*range(0, 10 * count, 10))
    return {'crop': crops, 'rotation': torch.eye(3).repeat(count, 1, 1), 'sellion': torch.zeros(count, 3),
            'is_face': torch.ones(count)}


@pytest.mark.parametrize('name, channels', [
    ('without normals', lambda encoder: encoder.of_normals.weight),
    ('normals without points', lambda encoder: encoder.of_points[0].weight),
    ('without the validity channel', lambda encoder: encoder.stem[0].weight[:, 3])])
def test_inputs_that_a_variant_lacks_have_no_effect(name, channels):
    torch.manual_seed(0)
    network = HeadPoseNet()
    assert channels(network.encoder).abs().max() > 0
    VARIANTS['pose'][name].change(network)
    before = network.pose.weight.detach().clone()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        sum(pose_loss(network, pose_batch(3)).values()).backward()
        optimizer.step()
    assert channels(network.encoder).abs().max() == 0
    assert (network.pose.weight - before).abs().max() > 1e-3


def test_a_coarse_variant_reads_every_second_pixel():
    torch.manual_seed(0)
    network = HeadPoseNet().eval()
    crops = crops_at(0, 20)
    others = crops.clone()
    others[:, :, 1::2] = 0
    others[:, :, :, 1::2] = 0
    assert not torch.equal(network.encoder(crops), network.encoder(others))
    VARIANTS['pose']['48 pixels, not 96'].change(network)
    torch.testing.assert_close(network.encoder(crops), network.encoder(others))


def test_the_likelihood_trains_the_pose_only_where_it_is_alone():
    torch.manual_seed(0)
    network, batch = HeadPoseNet(), pose_batch(3)
    for alone in (False, True):
        network.zero_grad()
        terms = pose_loss(network, batch, alone)
        assert ('rotation' in terms) != alone and ('_rotation' in terms) == alone
        terms['likelihood'].backward()
        assert (network.pose.weight.grad is not None and bool(network.pose.weight.grad.abs().max() > 0)) == alone


@pytest.mark.parametrize('network, variants', [
    ('shape', ['as it is', 'crops across the viewing ray', 'half as wide']),
    ('pose', ['one cell, not 3x3, at the end', 'one sensor per window'])])
def test_variants_are_trained_once_and_compared(tmp_path, pools, capsys, network, variants):
    arguments = ['ablate', '--network', network, '--pools', str(pools), '--out', str(tmp_path), '--steps', '2',
                 '--batch', '8', '--seeds', '0', '--device', 'cpu', '--variants', *variants]
    main(arguments, COMMANDS)
    files = sorted((tmp_path / network).glob('*.json'))
    assert len(files) == len(variants)
    assert all(json.loads(file.read_text())['averaged']['deg_median'] >= 0 for file in files)
    when = [file.stat().st_mtime_ns for file in files]
    capsys.readouterr()
    main(arguments, COMMANDS)
    assert [file.stat().st_mtime_ns for file in files] == when
    printed = capsys.readouterr().out
    assert all(variant in printed for variant in variants)
