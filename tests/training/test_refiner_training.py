# SPDX-License-Identifier: Apache-2.0
"""The refiner trains on faces aligned by the pipeline, and is initialised to no correction."""
from __future__ import annotations

import argparse
import json
import math

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('onnxruntime')

from drawn_faces import MODEL, face_at, frame_of, seen, write_models, write_pool

from depthface_ros import FaceEstimator
from depthface_ros.engines import MODELS_FOLDER, open_engine
from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.estimation.expression_calibration import ExpressionCalibration
from depthface_ros.estimation.refinement import (
    EXPRESSIONS,
    FEATURES,
    LOG_DISTANCE,
    LOG_STDS,
    MODES,
    POSITION_STD,
    ROTATION_STD,
    mirrored_features,
)
from depthface_ros.face_model.mirror import mirrored_corrections
from training.__main__ import main
from training.data.augment import rigid
from training.models.from_onnx import load_onnx
from training.models.networks import FaceRefinerNet
from training.train.refiner import (
    RecordingEngine,
    RefinerLoss,
    _sample,
    correlation,
    refiner_figures,
    samples_of,
)

TRUTH = face_at(yaw=15)


def test_from_a_pool_to_a_file_that_the_pipeline_runs(tmp_path, capsys):
    models, runs = tmp_path / 'models', tmp_path / 'runs'
    models.mkdir()
    write_models(models)
    for split in ('train', 'validation'):
        write_pool(tmp_path, split)
    main(['refiner', '--pools', str(tmp_path), '--runs', str(runs), '--models', str(models), '--steps', '3',
          '--batch', '4', '--observations', '2', '--workers', '1', '--loader-workers', '0', '--device', 'cpu'])
    gathered, = (runs / 'refiner').glob('samples-*')
    with np.load(gathered / 'train_00000.npz') as samples:
        assert samples['features'].shape[1:] == (FEATURES,) and 8 <= len(samples['features']) <= 16
        assert np.isfinite(samples['features']).all()
    main(['export', '--runs', str(runs), '--networks', 'face_refiner', '--out', str(models)])
    assert json.loads((models / 'face_refiner.json').read_text())['training_steps'] == 3
    frame = frame_of(TRUTH)
    assert FaceEstimator('cpu', models_folder=models)(frame.depth, frame.intrinsics)


def test_data_sets_without_windows_are_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match='run `python -m training render` first'):
        main(['refiner', '--pools', str(tmp_path), '--runs', str(tmp_path / 'runs'), '--models', str(MODELS_FOLDER)])


def test_a_shard_without_a_found_face_adds_nothing(tmp_path):
    folder, windows = tmp_path / 'samples', write_pool(tmp_path, 'train') / 'windows-train'
    folder.mkdir()
    with np.load(windows / 'shard_00000.npz') as shard:
        columns = dict(shard)
    nothing = columns | {'depth_steps': np.zeros_like(columns['depth_steps'])}
    np.savez(windows / 'shard_00000.npz', **nothing)
    options = argparse.Namespace(pools=tmp_path, models=MODELS_FOLDER, observations=1, seed=0, workers=1)
    with pytest.raises(FileNotFoundError, match='no faces were found'):
        samples_of(options, folder, 'train')
    np.savez(windows / 'shard_00001.npz', **columns)
    np.savez(folder / 'train_00001.npz', features=np.ones((2, FEATURES)))  # as if gathered before
    assert samples_of(options, folder, 'train')['features'].shape == (2, FEATURES)


def test_a_sample_holds_the_correction_from_the_aligned_face_to_the_truth():
    wrong = torch.tensor([[0.02, -0.03, 0.01, 0.002, -0.001, 0.003]])
    truth = torch.from_numpy(TRUTH.camera_from_face)
    face = face_at(yaw=15)
    object.__setattr__(face, 'camera_from_face', (truth @ torch.linalg.inv(rigid(wrong)[0])).numpy())
    sample, = _sample(face, np.zeros(FEATURES), seen(TRUTH), 0)
    np.testing.assert_allclose(sample['residual'], wrong[0], atol=1e-5)
    pose = face.camera_from_face
    vertices = (MODEL.template[::8] + sample['aligned']) @ pose[:3, :3].T + pose[:3, 3]
    np.testing.assert_allclose(vertices, face.vertices[::8], atol=1e-4)


def test_another_face_is_no_sample():
    assert _sample(face_at(position=(0.3, 0, 0.8)), np.zeros(FEATURES), seen(TRUTH), 0) == []
    assert _sample(face_at(yaw=60), np.zeros(FEATURES), seen(TRUTH), 0) == []


def test_while_samples_are_gathered_nothing_is_refined(monkeypatch):
    # Expressions are calibrated only with the refiner.
    monkeypatch.setattr(ExpressionCalibration, 'load', classmethod(lambda cls, folder: cls.identity()))
    engine, frame = RecordingEngine(open_engine('cpu_fp32')[0]), frame_of(TRUTH)
    (found,), (expected,) = (
        FaceEstimator(one, EstimatorConfig(refine=refine, max_rotation_std=10.))(frame.depth, frame.intrinsics)
        for one, refine in ((engine, True), (open_engine('cpu_fp32')[0], False)))
    np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-6)
    np.testing.assert_allclose(found.expression, expected.expression.clip(0.003, 0.997), atol=1e-5)
    assert engine.features.shape == (1, FEATURES)


def a_batch(count=6):
    torch.manual_seed(0)
    logits = torch.randn(count, FEATURES)
    return {'features': logits.half(), 'residual': 0.01 * torch.randn(count, 6),
            'aligned': torch.zeros(count, 250, 3).half(), 'offsets': torch.zeros(count, 250, 3).half(),
            'expression': torch.rand(count, EXPRESSIONS).half()}


def test_an_untrained_refiner_corrects_nothing():
    batch, network = a_batch(), FaceRefinerNet().eval()
    correction, expression, log_variance = network(batch['features'].float())
    assert correction.shape == (6, 6 + MODES) and not correction.any()
    told_before = batch['features'][:, LOG_STDS].float().exp() * torch.tensor([ROTATION_STD, POSITION_STD])
    torch.testing.assert_close((0.5 * log_variance).exp(), told_before)
    torch.testing.assert_close(expression, batch['features'][:, -EXPRESSIONS:].float())
    figures = refiner_figures(network, batch, RefinerLoss(batch['expression']))
    for name in ('_deg_median', '_sellion_mm', '_shape_mm', '_posed_mm', '_correlation'):
        assert figures[name] == pytest.approx(figures[f'{name}_before'])
    assert figures['_sigma_correlation'] == pytest.approx(figures['_sigma_correlation_before'], abs=1e-6)  # near 0, for other reasons


def test_the_refiner_is_equivariant_under_mirroring():
    torch.manual_seed(0)
    network = FaceRefinerNet().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    features, (order, signs) = torch.randn(3, FEATURES), map(torch.tensor, mirrored_features())
    correction, expression, log_variance = network(features)
    other_correction, other_expression, other_log_variance = network(features[:, order] * signs)
    torch.testing.assert_close(other_correction, correction * torch.tensor(mirrored_corrections()))
    torch.testing.assert_close(other_expression, expression[:, MODEL.expression_mirror])
    torch.testing.assert_close(other_log_variance, log_variance)
    assert (other_correction - correction).abs().max() > 0.01


def says(correction, log_variance=None):
    """Return a refiner with a constant correction that keeps the expressions of its input."""
    return lambda features: (correction, features[:, -EXPRESSIONS:],
                             features[:, LOG_STDS] if log_variance is None else log_variance)


def test_the_right_correction_costs_nothing_and_others_do():
    batch = a_batch()
    loss = RefinerLoss(batch['expression'])
    right = torch.cat([batch['residual'], torch.zeros(6, MODES)], 1)
    terms, nothing = (loss(says(correction), batch) for correction in (right, torch.zeros_like(right)))
    for name in ('posed', 'sellion', 'rotation'):
        assert terms[name] < 0.1 * nothing[name]
    bent = right.clone()
    bent[:, 6] = 1
    assert loss(says(bent), batch)['shape'] > 1 > terms['shape']


def test_an_uncertain_pose_weighs_less_and_nothing_else_does():
    batch = a_batch()
    loss = RefinerLoss(batch['expression'])
    told = [torch.full((6, 2), 2 * math.log(math.radians(degrees)), requires_grad=True)
            for degrees in (1., 3., 0.01, 0.02)]
    sure, uncertain, *too_sure = (loss(says(torch.zeros(6, 6 + MODES), log_variance), batch) for log_variance in told)
    for name in ('posed', 'sellion', 'rotation'):
        torch.testing.assert_close(sure[name], 3 * uncertain[name])
        torch.testing.assert_close(*(terms[name] for terms in too_sure))
        assert not sure[name].requires_grad  # otherwise large variances would reduce the weights of errors
    for name in ('shape', 'across', 'expression'):
        torch.testing.assert_close(sure[name], uncertain[name])


def test_variances_are_trained_without_effect_on_poses():
    torch.manual_seed(0)
    batch, size = a_batch(256), 0.5 + 2.5 * torch.rand(256)
    batch['features'] = torch.zeros(256, FEATURES).half()
    batch['features'][:, LOG_DISTANCE] = size.half()  # here errors grow with the distance
    batch['residual'] = 0.02 * size[:, None] * torch.randn(256, 6)
    network, loss = FaceRefinerNet().eval(), RefinerLoss(batch['expression'])
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        loss(network, batch)['likelihood'].backward()
        optimizer.step()
    correction, _, log_variance = network(batch['features'].float())
    assert not correction.any()
    np.testing.assert_allclose((0.5 * log_variance).exp().detach(), 0.02 * size[:, None].expand(-1, 2), rtol=0.3)


def test_correlation_is_that_of_numpy_and_of_a_constant_it_is_none():
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 50, 3)).astype(np.float32)
    other[:, 1] += one[:, 1]
    other[:, 2] = 0.5
    found = correlation(torch.from_numpy(one), torch.from_numpy(other)).numpy()
    expected = [np.corrcoef(one[:, i], other[:, i])[0, 1] for i in (0, 1)]
    np.testing.assert_allclose(found, [*expected, 0], atol=1e-5)


def test_the_refiner_that_ships_can_be_trained_on():
    network = load_onnx('face_refiner', MODELS_FOLDER / 'face_refiner.onnx', torch.zeros(2, FEATURES))
    features = np.random.default_rng(0).normal(size=(2, FEATURES)).astype(np.float32)
    correction, expression, log_variance = network.eval()(torch.from_numpy(features))
    answer = open_engine('cpu_fp32')[0].run('face_refiner', features)
    np.testing.assert_allclose(correction.detach(), answer['correction'], atol=1e-5)
    np.testing.assert_allclose(torch.sigmoid(expression).detach(), answer['expression'], atol=1e-5)
    np.testing.assert_allclose(log_variance.detach(), answer['log_variance'], atol=1e-4)
