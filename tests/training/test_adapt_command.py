# SPDX-License-Identifier: Apache-2.0
"""`python -m training adapt` trains networks on a recording of the user."""
from __future__ import annotations

import argparse
import hashlib
import importlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('rosbags')
cv2 = pytest.importorskip('cv2')

from drawn_faces import face_at, write_models, write_pool

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.io.recordings import open_recording
from training.__main__ import COMMANDS, main
from training.adapt.adapt import next_steps
from training.adapt.pose_finetuning import constant_offset
from training.models.from_onnx import load_onnx
from training.synthesis.scene.random_scene import facing_pose

SAMPLE = Path(__file__).parents[2] / 'demo' / 'sample.mcap'


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp('models'))


@pytest.fixture(scope='module')
def pools(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pools')
    write_pool(folder, 'validation')
    return write_pool(folder, 'train')


def write_camera(folder, camera):
    (folder / 'camera.json').write_text(json.dumps(
        {name: getattr(camera, name) for name in ('fx', 'fy', 'cx', 'cy')}))


def test_a_recording_becomes_new_networks_and_a_report(tmp_path, pools, models, capsys):
    folder = tmp_path / 'pngs'
    folder.mkdir()
    frames = [frame for frame, _ in zip(open_recording(SAMPLE), range(8))]
    for i, frame in enumerate(frames):
        assert cv2.imwrite(str(folder / f'{i}.png'), frame.depth)
    write_camera(folder, frames[0].intrinsics)
    out = tmp_path / 'adapted'
    main(['adapt', '--folder', str(folder), '--models', str(models), '--pools', str(pools),
          '--out', str(out), '--steps', '3', '--batch', '8', '--device', 'cpu', '--preset', 'cpu',
          '--report-frames', '2'])
    report = json.loads((out / 'report.json').read_text())
    rows = {(row['where'], row['figure']): row for row in report['rows']}
    assert {where for where, _ in rows} == {'recording, networks alone', 'recording, whole pipeline', 'synthetic faces'}
    faces, points = (rows['recording, networks alone', name] for name in ('faces', 'mesh_to_points_mm_median'))
    assert faces['before'] == faces['after'] > 0
    assert points['before'] != points['after'] > 0
    assert rows['synthetic faces', 'shape_mm']['before'] > 0
    printed, page = capsys.readouterr().out, (out / 'report.md').read_text()
    assert 'mesh to points mm median' in printed and 'mesh to points mm median' in page
    assert ('WARNING, worse than before' in page) == bool(report['worse'])
    assert f'models_folder:={out}' in printed
    for name, same in (('head_pose', True), ('head_finder', True), ('face_shape', False)):
        old, new = ((path / f'{name}.onnx').read_bytes() for path in (models, out))
        assert (old == new) is same
    card = json.loads((out / 'face_shape.json').read_text())
    assert card['adapted']['methods'] == ['self-training']
    adapted = FaceEstimator('cpu', models_folder=out)
    assert adapted(frames[0].depth, frames[0].intrinsics)
    for name in ('head_pose', 'face_shape'):  # quantised anew, from the networks beside them
        made_from = onnx.load(out / f'{name}.int8.onnx').metadata_props[0].value
        assert made_from == hashlib.sha256((out / f'{name}.onnx').read_bytes()).hexdigest()


def test_the_commands_that_complete_a_folder_are_commands(capsys):
    text = next_steps(Path('adapted'), Path('pools'))
    lines = [line.split() for line in text.splitlines() if 'python -m training' in line]
    assert [line[3] for line in lines] == ['calibrate', 'refiner', 'export', 'calibrate']
    for line in lines:
        parser = argparse.ArgumentParser()
        importlib.import_module(COMMANDS[line[3]][0]).add_arguments(parser)
        parser.parse_args([word for word in line[4:] if word[0] != '[' and word[-1] != ']'])


def test_a_recording_without_faces_or_a_missing_data_set_is_reported(tmp_path, pools):
    folder = tmp_path / 'empty_room'
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f'{i}.png'), np.full((120, 160), 2000, np.uint16))
    write_camera(folder, Intrinsics(150, 150, 80, 60))
    arguments = ['adapt', '--folder', str(folder), '--out', str(tmp_path), '--device', 'cpu']
    with pytest.raises(ValueError, match='no face was found'):
        main([*arguments, '--pools', str(pools)])
    with pytest.raises(FileNotFoundError, match='python -m training render'):
        main([*arguments, '--pools', str(tmp_path)])


def test_labelled_frames_fine_tune_the_pose_network(tmp_path, pools):
    """Pandora's layout, with a head frame that is not ours and the shipped network's labels."""
    try:
        load_onnx('head_pose', MODELS_FOLDER / 'head_pose.onnx', torch.zeros(2, 4, 96, 96))
    except ValueError:
        pytest.skip('the shipped pose network is of an older architecture')
    estimator = FaceEstimator('cpu')
    frames = [frame for frame, _ in zip(open_recording(SAMPLE), range(12))]
    head_from_face = np.array([[0, 1, 0, 0], [0, 0, -1, 0], [-1, 0, 0, 0], [0, 0, 0, 1.]])
    from scipy.spatial.transform import Rotation
    root = tmp_path / 'pandora'
    for person in ('01_a', '02_a'):
        folder = root / person
        folder.mkdir(parents=True)
        lines = []
        for i, frame in enumerate(frames[::2] if person == '01_a' else frames[1::2]):
            face = estimator(frame.depth, frame.intrinsics)[0]
            camera_from_head = face.camera_from_face @ np.linalg.inv(head_from_face)
            angles = Rotation.from_matrix(camera_from_head[:3, :3]).as_euler('XYZ', degrees=True)
            lines.append(', '.join(map(str, [i, *angles, *camera_from_head[:3, 3]])))
            cv2.imwrite(str(folder / f'{i:06d}_DEPTH.png'), frame.depth)
        (folder / 'angles.csv').write_text('\n'.join(lines))
    write_camera(root, frames[0].intrinsics)
    out = tmp_path / 'adapted'
    main(['adapt', '--labels', 'pandora', str(root), '--pools', str(pools), '--out', str(out),
          '--steps', '2', '--batch', '8', '--device', 'cpu', '--preset', 'cpu'])
    report = json.loads((out / 'report.json').read_text())
    assert report['before']['geodesic_deg_median'] < 1 and report['before']['missed_percent'] == 0
    assert np.isfinite(report['after']['geodesic_deg_median'])
    assert (out / 'head_pose.onnx').read_bytes() != (MODELS_FOLDER / 'head_pose.onnx').read_bytes()
    assert FaceEstimator('cpu', models_folder=out).face_model is not None


def test_the_constant_between_two_head_frames_is_found_among_bad_predictions():
    rng = np.random.default_rng(0)
    truth = np.stack([face_at(yaw=yaw, pitch=pitch).camera_from_face.astype(float)
                      for yaw, pitch in rng.uniform(-40, 40, (40, 2))])
    face_from_head = facing_pose(np.array([-0.1, 0.0, -0.02]), 0.1, -0.2, 0.05).astype(float)
    predicted = truth.copy()
    predicted[::7] = face_at(yaw=70).camera_from_face
    predicted[1] = np.nan
    offset = constant_offset(truth @ face_from_head, predicted)
    np.testing.assert_allclose(offset, np.linalg.inv(face_from_head), atol=1e-3)
    wrong = truth @ face_from_head
    wrong[:, :3, :3] = np.swapaxes(wrong[:, :3, :3], 1, 2)
    with pytest.raises(ValueError, match='transposed'):
        constant_offset(wrong, predicted)
