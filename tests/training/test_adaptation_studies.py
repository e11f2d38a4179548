# SPDX-License-Identifier: Apache-2.0
"""The commands that compare adaptation methods train, evaluate and print every row once."""
from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('rosbags')

from drawn_faces import MODEL, face_at, frame_of, write_models, write_pool

from depthface_ros import Intrinsics
from training.__main__ import main
from training.evaluation.landmarks import LANDMARKS
from training.experiments.__main__ import COMMANDS
from training.experiments.adapt_people_table import table_cells
from training.experiments.studies import change

BRIEFLY = ['--preset', 'cpu', '--steps', '2', '--batch', '8', '--device', 'cpu']


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp('models'))


@pytest.fixture(scope='module')
def pools(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pools')
    for split in ('train', 'validation'):
        write_pool(folder, split)
    return folder


def test_on_a_simulated_camera(tmp_path, pools, models, capsys):
    call = ['adapt-study', '--pools', str(pools), '--target-pools', str(pools), '--models', str(models),
            '--target', 'Kinect v2', '--rows', 'source only', 'adversarial', 'oracle', '--seeds', '0', '1',
            '--out', str(tmp_path), *BRIEFLY]
    main(call, COMMANDS)
    printed = capsys.readouterr().out
    results = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob('*/*.json')}
    assert results.keys() == {'before', *(f'{row}-{seed}' for seed in (0, 1)
                                          for row in ('source-only', 'adversarial', 'oracle'))}
    assert results['before']['judged_faces'] > 0
    shapes = [result['shape_mm'] for result in results.values()]
    assert np.isfinite(shapes).all() and len(set(shapes)) == len(shapes)
    oracle = [results[f'oracle-{seed}']['shape_mm'] for seed in (0, 1)]
    assert f'{np.mean(oracle):.2f} ± {np.std(oracle, ddof=1):.2f} │      100 %' in printed
    main(call, COMMANDS)  # the table again; nothing is trained
    assert 'oracle-1' in printed and 'oracle-1' not in capsys.readouterr().out


def test_on_real_people(tmp_path, pools, models, capsys):
    """Six crops of two people: each is evaluated with networks trained on the other one."""
    faces = [face_at(yaw=yaw, position=(0., 0., 0.8)) for yaw in (-20, -10, 0, 10, 20, 30)]
    camera = Intrinsics(365., 365., 119.5, 119.5)
    depth = np.stack([frame_of(face, camera=camera, shape=(240, 240)).depth for face in faces])
    np.savez(tmp_path / 'frames.npz', depth_mm=np.round(1000 * depth).astype(np.uint16),
             size_hw=np.full((6, 2), 240), session=np.array([1, 1, 1, 2, 2, 2]))
    np.savez(tmp_path / 'other.npz', depth_mm=np.round(1000 * depth[:2]).astype(np.uint16),
             K=np.float32([365., 365., 119.5, 119.5]))
    points = np.stack([[MODEL.landmarks(face.vertices)[list(indices)].mean(0) for indices in LANDMARKS.values()]
                       for face in faces])
    np.savez(tmp_path / 'landmarks.npz', names=np.array(list(LANDMARKS)),
             landmarks_xy=points[..., :2] / points[..., 2:] * 365 + 119.5)
    out = tmp_path / 'out'
    main(['adapt-people', 'kinect2-crops', str(tmp_path), '--folds', '2', '--rows', 'source only',
          'self-training', '--seeds', '0', '1', '--pools', str(pools), '--models', str(models),
          '--out', str(out), '--other', 'one-person', str(tmp_path / 'other.npz'),
          '--json', str(tmp_path / 'study.json'), *BRIEFLY], COMMANDS)
    printed = ' '.join(capsys.readouterr().out.split())
    results = {str(path.relative_to(out)): json.loads(path.read_text()) for path in out.glob('fold-*/*-?.json')}
    assert results.keys() == {f'fold-{fold}/{row}.json' for fold in (0, 1)
                              for row in ('before-0', 'source-only-0', 'source-only-1',
                                          'self-training-0', 'self-training-1')}
    for result in results.values():
        assert result['frames'] == 3 == result['faces']
        assert result['missed_percent'] == 0 and result['landmark_mm_mean'] > 0
        assert result['synthetic_shape_mm'] > 0
        assert result['other_frames_with_faces'] == 2
    without_target = [results[f'fold-{fold}/source-only-0.json']['synthetic_shape_mm'] for fold in (0, 1)]
    assert without_target[0] == without_target[1]  # one training serves all groups of people
    of_seeds = [[results[f'fold-{fold}/self-training-{seed}.json']['landmark_mm_mean'] for fold in (0, 1)]
                for seed in (0, 1)]
    summary = json.loads((tmp_path / 'study.json').read_text())
    assert summary['rows'].keys() == {'before', 'source only', 'self-training'}
    np.testing.assert_allclose(summary['rows']['self-training']['landmark_mm_mean'], of_seeds, atol=1e-4)
    heading, rows = table_cells(summary)
    assert heading == ['', 'before', 'source only', 'self-training']
    cells = {row[0]: row[1:] for row in rows}
    assert cells['seeds'] == ['-', '2', '2']
    assert cells['other camera: images with faces'][2] == '2.00 (+0.00 ± 0.00)'
    assert cells['landmarks, mm'][2] in printed


def test_changes_are_paired_by_fold_and_their_errors_are_over_folds():
    before = [[3.0, 4.0]]
    mean, changed, error = change([[2.9, 3.8], [2.7, 3.8]], before)  # two seeds of two folds
    assert (mean, changed, error) == pytest.approx((3.3, -0.2, 0.0))
    assert change([[2.5, 4.0]], before) == pytest.approx((3.25, -0.25, 0.25))


def test_figures_that_some_runs_lack_are_not_in_the_table():
    """A study is resumed with --other: runs of before have no figures of another camera."""
    landmarks, faces = {'landmark_mm_mean': [[3.0, 4.0]]}, {'other_faces': [[11, 11]]}
    summary = {'rows': {'before': landmarks | faces, 'adversarial': landmarks,
                        'self-training': landmarks | faces}}
    heading, rows = table_cells(summary)
    assert heading == ['', 'before', 'adversarial', 'self-training']
    cells = {row[0]: row[1:] for row in rows}
    assert cells['other camera: faces'] == ['11.00', '-', '11.00 (+0.00 ± 0.00)']
    assert cells['landmarks, mm'] == ['3.50', *['3.50 (+0.00 ± 0.00)'] * 2]
    assert cells['seeds'] == ['-', '1', '1']
