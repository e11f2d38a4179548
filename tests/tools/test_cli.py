# SPDX-License-Identifier: Apache-2.0
"""`depthface` writes the requested files, and mistakes end with one line."""
from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from depthface_ros.cli import main
from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.geometry.rotations import rotation_from_vector
from depthface_ros.io.frame import Frame
from depthface_ros.io.rejections import Rejections
from depthface_ros.tools.offline import run_recording

cv2 = pytest.importorskip('cv2')
pytest.importorskip('onnxruntime')
from depthface_ros.io import writers as output
from depthface_ros.tools import bench

MODEL = FaceModel.load()
CAMERA = Intrinsics(525.0, 525.0, 319.5, 239.5)


def face(x=0.0, z=1.0):
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]]) @ rotation_from_vector(np.array([0, 0, 0.5]))
    pose[:3, 3] = x, 0, z
    vertices = MODEL.template @ pose[:3, :3].T + pose[:3, 3]
    return Face(pose, vertices.astype(np.float32), np.linspace(0, 1, 52, dtype=np.float32), 0.9, 0.05, 0.003)


class Scripted:
    """A recording of five frames with 1, 2, 0, 1 and 1 faces."""

    count, stamped, description = 5, False, 'scripted'
    seen = [[face(0.1)], [face(0.1), face(-0.4)], [], [face(0.11)], [face(0.12)]]

    def __init__(self):
        self.rejections = Rejections()

    def __iter__(self):
        for i in range(self.count):
            depth = np.full((240, 320), 2000 + i, np.uint16)
            yield Frame(10 ** 9 + i * 40_000_000, depth, CAMERA, f'frame_{i}')

    def estimator(self, depth, intrinsics):
        return self.seen[int(depth[0, 0]) - 2000]


def run(*writers):
    scripted = Scripted()
    return run_recording(scripted, scripted.estimator, writers)


@pytest.mark.parametrize('suffix', ['csv', 'json'])
def test_poses_hold_one_row_per_face_and_image(tmp_path, suffix):
    file = tmp_path / f'poses.{suffix}'
    summary = run(output.PoseFile(file, MODEL))
    assert (summary.frames, summary.frames_with_faces, summary.faces, summary.ids) == (5, 4, 5, 2)
    rows = list(csv.DictReader(file.open())) if suffix == 'csv' else json.loads(file.read_text())
    assert [(row['frame'], row['id']) for row in rows] == [
        ('frame_0', 'f00001'), ('frame_1', 'f00001'), ('frame_1', 'f00002'), ('frame_3', 'f00001'),
        ('frame_4', 'f00001')]
    assert rows[3]['stamp'] == '1.120000000'
    assert float(rows[3]['x']) == pytest.approx(0.11) and float(rows[3]['z']) == pytest.approx(1)
    assert float(rows[3]['yaw']) == pytest.approx(0.5) and float(rows[3]['tongueOut']) == 1
    for name, variance in {'x_x': 9e-6, 'z_z': 9e-6, 'rx_rx': 0.0025, 'rz_rz': 0.0025, 'x_rz': 0}.items():
        assert float(rows[0][f'cov_{name}']) == pytest.approx(variance, rel=1e-3, abs=1e-12)
    quaternion = np.array([float(rows[0][name]) for name in ('qx', 'qy', 'qz', 'qw')])
    x, y, z, w = quaternion
    forward = (1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w))
    np.testing.assert_allclose(forward, face().camera_from_face[:3, 0], atol=1e-5)


def test_poses_of_a_recording_without_faces_are_an_empty_table(tmp_path):
    scripted = Scripted()
    run_recording(scripted, lambda depth, intrinsics: [], [output.PoseFile(tmp_path / 'p.csv', MODEL)])
    assert (tmp_path / 'p.csv').read_text().split() == ['stamp,frame,id']


def test_meshes_are_ply_files_with_the_faces_vertices(tmp_path):
    run(output.MeshFolder(tmp_path, MODEL))
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        'frame_0_f00001.ply', 'frame_1_f00001.ply', 'frame_1_f00002.ply', 'frame_3_f00001.ply',
        'frame_4_f00001.ply']
    header, body = (tmp_path / 'frame_1_f00002.ply').read_bytes().split(b'end_header\n')
    assert f'element vertex {len(MODEL.template)}\n'.encode() in header
    vertices = np.frombuffer(body, '<f4', MODEL.template.size).reshape(-1, 3)
    np.testing.assert_array_equal(vertices, face(-0.4).vertices)
    triangles = np.frombuffer(body[vertices.nbytes:], [('count', 'u1'), ('corners', '<i4', 3)])
    assert set(triangles['count']) == {3}
    np.testing.assert_array_equal(triangles['corners'], MODEL.triangles)


def test_video_and_sheet_show_every_frame(tmp_path):
    run(output.Pictures(MODEL, tmp_path / 'v.mp4', tmp_path / 's.png'))
    video = cv2.VideoCapture(str(tmp_path / 'v.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 5 and video.get(cv2.CAP_PROP_FPS) == pytest.approx(25)
    assert video.get(cv2.CAP_PROP_FRAME_HEIGHT) == 480  # 240 enlarged to at least 360
    assert cv2.imread(str(tmp_path / 's.png')).shape[0] == 242


def test_meshes_over_time_are_drawn_row_by_row(tmp_path):
    run(output.OverTime(tmp_path / 'o.png', MODEL))
    rows = cv2.imread(str(tmp_path / 'o.png')).shape[0] // 330
    assert rows == 2  # faces


def test_a_bag_holds_the_frames_and_meshes_of_each_image(tmp_path):
    pytest.importorskip('rosbags')
    from rosbags.highlevel import AnyReader

    from depthface_ros.io.face_bag import FaceBag
    run(FaceBag(tmp_path / 'new' / 'out.mcap', MODEL))
    frames, meshes = [], []
    with AnyReader([tmp_path / 'new' / 'out.mcap']) as reader:
        for connection, stamp_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            if connection.topic == '/tf':
                frames.append((stamp_ns, [item.child_frame_id for item in message.transforms]))
            else:
                meshes.append((stamp_ns, message.id))
                vertices = np.array([(point.x, point.y, point.z) for point in message.points])
                corners = Scripted.seen[(stamp_ns - 10 ** 9) // 40_000_000][message.id - 1].vertices
                np.testing.assert_array_equal(vertices, corners[MODEL.triangles.reshape(-1)])
    one, two = ['face_f00001', 'gaze_f00001'], ['face_f00002', 'gaze_f00002']
    stamps = [10 ** 9 + i * 40_000_000 for i in range(5)]
    assert frames == [(stamps[0], one), (stamps[1], one + two), (stamps[3], one), (stamps[4], one)]
    assert meshes == [(stamps[0], 1), (stamps[1], 1), (stamps[1], 2), (stamps[3], 1), (stamps[4], 1)]
    assert [file.name for file in (tmp_path / 'new').iterdir()] == ['out.mcap']


def test_long_recordings_are_thinned_evenly():
    thinned = output.Thinned(4)
    for i in range(1000):
        thinned.add(i)
    assert 4 <= len(thinned.items) < 8
    assert len(set(np.diff(thinned.items))) == 1 and thinned.items[-1] >= 750


def test_rerun_writes_a_recording_when_it_is_installed(tmp_path):
    pytest.importorskip('rerun')
    run(output.RerunFile(tmp_path / 'out.rrd', MODEL))
    assert (tmp_path / 'out.rrd').stat().st_size > 10_000


def test_the_command_reads_images_and_writes_all_kinds_of_results(tmp_path, capsys):
    np.savez(tmp_path / 'in.npz', depth_mm=np.full((3, 120, 160), 900, np.uint16))
    assert main(['run', str(tmp_path / 'in.npz'), '--intrinsics', '131,131', '--out', str(tmp_path / 'out'),
                 '--poses', 'json', '--meshes', '--video', '--sheet']) == 0
    assert {file.name for file in (tmp_path / 'out').iterdir()} == {'poses.json', 'meshes', 'overlay.mp4',
                                                                    'sheet.png'}
    assert 'of 3 frames' in capsys.readouterr().out


@pytest.mark.parametrize('arguments, message', [
    (['run', 'nowhere.mcap'], 'nowhere.mcap does not exist'),
    (['run', '{}/camera.json'], 'expected a bag'),
    (['run', '{}/a.npz'], 'does not say which camera'),
    (['run', '{}/a.npz', '--intrinsics', '0,0,3,3'], 'intrinsics'),
    (['run', '{}/a.npz', '--intrinsics', '9,9', '--bag', '{}/out.db3'], 'bags are written as .mcap'),
    (['bench', '{}/a.npz', '--engine', 'tensorrt'], 'engine tensorrt: ')])
def test_mistakes_end_with_one_line_and_status_2(monkeypatch, tmp_path, capsys, arguments,
                                                 message):
    monkeypatch.setitem(sys.modules, 'cuda.bindings', None)
    (tmp_path / 'camera.json').write_text('{}')
    (tmp_path / 'other').mkdir()
    np.savez(tmp_path / 'other' / 'a.npz', depth_mm=np.ones((4, 5), np.uint16))
    folder = tmp_path / 'other' if 'a.npz' in arguments[1] else tmp_path
    arguments = [argument.format(folder) for argument in arguments]
    if arguments[0] == 'run':
        arguments += ['--out', str(tmp_path / 'out')]
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('depthface: error: ') and message in error


def test_bad_options_are_explained(capsys):
    with pytest.raises(SystemExit) as caught:
        main(['run', 'x', '--intrinsics', '1,2,3'])
    assert caught.value.code == 2 and 'expected fx,fy' in capsys.readouterr().err


def test_bench_lists_every_stage_for_one_and_three_faces_searched_and_tracked(capsys):
    assert main(['bench', '--runs', '8']) == 0  # the pose network looks at every fourth image
    text = capsys.readouterr().out
    for faces in ('1 face', '3 faces'):
        for way in ('all images searched', 'tracked at 30 Hz'):
            assert f'640x480, {faces}, {way}' in text
    for stage in ('pose network', 'shape network', 'alignment', 'end to end'):
        assert text.count(stage) == 4
    assert text.count('tracking') == 2 and text.count('find heads') >= 2


def test_drawn_heads_are_at_the_returned_centres():
    depth, centres = bench.drawn_frame(3)
    for centre in centres:
        u, v = bench.CAMERA.project(*(centre[:2] / centre[2]))
        assert depth[round(float(v)), round(float(u))] == pytest.approx(1000 * (centre[2] - 0.095), abs=12)


def test_check_reports_what_works_and_names_the_models(monkeypatch, capsys):
    for package in ('cuda.bindings', 'depthface_ros.engines.torch.cuda_engine'):
        monkeypatch.setitem(sys.modules, package, None)
    assert main(['check']) == 0
    text = capsys.readouterr().out
    assert "'auto' takes cpu" in text and 'cpu            works: onnxruntime' in text
    assert re.search(r'tensorrt +no: .*pip install', text) and 'GPU none is seen: ' in text
    for name in ('head_finder.onnx', 'head_pose.onnx', 'face_shape.onnx', 'face_model.npz'):
        assert name in text


def test_the_command_line_answers_help_without_loading_networks():
    code = 'import sys, depthface_ros.cli; depthface_ros.cli._parser(); print("onnxruntime" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'False'


def test_files_and_folders_may_be_texts_or_paths(tmp_path):
    pytest.importorskip('rosbags')
    from depthface_ros.io.bags import BagRecording
    from depthface_ros.io.face_bag import FaceBag
    for kind in (str, Path):
        folder = tmp_path / kind.__name__
        folder.mkdir()
        name = str(folder) if kind is str else folder
        run(output.PoseFile(kind(f'{name}/p.json'), MODEL), output.MeshFolder(name, MODEL),
            output.Pictures(MODEL, kind(f'{name}/v.mp4'), kind(f'{name}/s.png')),
            FaceBag(kind(f'{name}/f.mcap'), MODEL))
        assert len(list(folder.iterdir())) == 9
        with pytest.raises(ValueError, match='no depth images'):
            BagRecording(kind(f'{name}/f.mcap'))
