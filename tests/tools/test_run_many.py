# SPDX-License-Identifier: Apache-2.0
"""`depthface run` on real, damaged, single-image and several recordings."""
from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('cv2')
pytest.importorskip('onnxruntime')
from bags import Bag  # noqa: E402
from sample_frames import SAMPLE  # noqa: E402

from depthface_ros.cli import main  # noqa: E402
from depthface_ros.geometry.camera import Intrinsics  # noqa: E402
from depthface_ros.io.recordings import open_recording  # noqa: E402
from depthface_ros.tools import run_many  # noqa: E402

TOPIC, INFO = '/head/range_finder/image', '/head/range_finder/camera_info'


def sample_bag(path: Path, count: int, bad: tuple[int, ...] = ()) -> Path:
    """Write a bag with images of the sample, some of them truncated."""
    bag = Bag(path)
    frames = list(open_recording(SAMPLE))[10:10 + count]
    for i, frame in enumerate(frames):
        bag.write(INFO, bag.info(frame.intrinsics, frame.depth.shape), frame.stamp_ns)
        bag.write(TOPIC, bag.image(frame.depth, frame.stamp_ns, cut=-5000 if i in bad else None),
                  frame.stamp_ns)
    return bag.close()


def rows(folder: Path) -> list[dict]:
    with (folder / 'poses.csv').open() as file:
        return list(csv.DictReader(file))


def test_a_recording_of_one_image_shows_its_faces(tmp_path, capsys):
    path = sample_bag(tmp_path / 'one', 1)
    assert main(['run', str(path), '--engine', 'cpu', '--out', str(tmp_path / 'out')]) == 0
    assert len(rows(tmp_path / 'out')) >= 1
    output = capsys.readouterr().out
    assert f'depth on {TOPIC}, camera_info on {INFO}' in output and 'engine cpu' in output


def test_the_first_image_of_a_recording_shows_its_faces_when_it_is_the_only_one_wanted(tmp_path):
    path = sample_bag(tmp_path / 'bag', 4)
    assert main(['run', str(path), '--engine', 'cpu', '--frames', '1',
                 '--out', str(tmp_path / 'out')]) == 0
    assert len(rows(tmp_path / 'out')) >= 1


def test_bad_images_are_skipped_and_summed_up(tmp_path, capsys):
    path = sample_bag(tmp_path / 'bag', 6, bad=(2, 3))
    assert main(['run', str(path), '--engine', 'cpu', '--out', str(tmp_path / 'out'),
                 '--summary', str(tmp_path / 'summary.json')]) == 0
    out, err = capsys.readouterr()
    assert '2 of 6 images rejected: 2 x ' in out and 'faces' in out.splitlines()[-1]
    assert err.count('images like this are skipped') == 1 and 'Traceback' not in err
    assert len({row['stamp'] for row in rows(tmp_path / 'out')}) == 3
    summary, = json.loads((tmp_path / 'summary.json').read_text()).values()
    assert (summary['frames'], summary['rejected']) == (4, 2)


def test_several_recordings_run_at_once_and_one_that_fails_ends_no_other(tmp_path, capsys):
    good, bad = sample_bag(tmp_path / 'good', 3), tmp_path / 'bad.mcap'
    bad.write_bytes(b'no bag')
    np.savez(tmp_path / 'still.npz', depth_mm=np.full((2, 60, 80), 900, np.uint16),
             K=[66.0, 66.0, 40.0, 30.0])
    assert main(['run', str(good), str(bad), str(tmp_path / 'still.npz'), '--jobs', '2',
                 '--engine', 'cpu', '--out', str(tmp_path / 'out'), '--bag', 'faces.mcap',
                 '--summary', str(tmp_path / 'all.json')]) == 1
    out, err = capsys.readouterr()
    assert '2 of 3 read' in out.splitlines()[-1]
    assert f'{bad}'[-20:] in out and 'expected an mcap' in out
    assert len(rows(tmp_path / 'out' / 'good')) >= 2
    assert (tmp_path / 'out' / 'good' / 'faces.mcap').is_file()
    assert '0 faces' in (tmp_path / 'out' / 'still' / 'log.txt').read_text()
    summaries = json.loads((tmp_path / 'all.json').read_text())
    assert summaries[str(good)]['frames'] == 3 and summaries[str(bad)]['error']
    assert 'Traceback' not in out + err


class _EndsItsProcess:
    """Kills the process that unpickles it, as the kernel does when memory runs out."""

    def __reduce__(self):
        return os._exit, (9,)


def test_a_process_that_is_killed_ends_no_other(tmp_path):
    options = argparse.Namespace(command=None, poses=_EndsItsProcess())
    outcome = run_many.run_in_process(options, tmp_path / 'a.mcap', tmp_path / 'out')
    assert outcome.summary is None and outcome.error == 'its process ended with status 9'


def test_results_of_recordings_with_one_name_do_not_meet(tmp_path):
    inputs = [Path(name) for name in ('/a/mon/walk.mcap', '/a/tue/walk.mcap', '/a/mon/run.mcap',
                                      '/a/mon/walk.png', '/a/b/other')]
    folders = run_many.result_folders(inputs, tmp_path)
    assert len(set(folders.values())) == len(inputs)
    assert folders[inputs[2]] == tmp_path / 'run' and folders[inputs[1]] == tmp_path / 'tue_walk'


@pytest.mark.parametrize('as_text', [False, True])
def test_the_folder_of_the_networks_may_be_a_text_or_a_path_and_is_named(tmp_path, capsys, as_text):
    from depthface_ros.engines import MODELS_FOLDER
    from depthface_ros.estimation.estimator import FaceEstimator
    folder = tmp_path / 'mine'
    folder.mkdir()
    for file in MODELS_FOLDER.iterdir():
        os.symlink(file, folder / file.name)
    models = str(folder) if as_text else folder
    assert FaceEstimator('cpu', models_folder=models).calibration == FaceEstimator('cpu').calibration
    np.savez(tmp_path / 'a.npz', depth_mm=np.full((60, 80), 900, np.uint16))
    assert main(['run', str(tmp_path / 'a.npz'), '--intrinsics', '66,66', '--models', str(models),
                 '--out', str(tmp_path / 'out')]) == 0
    assert f'networks in {folder}' in capsys.readouterr().out
    assert main(['check', '--models', str(models)]) == 0
    assert f'models in {folder}' in capsys.readouterr().out


@pytest.mark.parametrize('name, content', [
    ('calibration.json', b'{"bias": 1}'), ('calibration.json', b'[' * 99999),
    ('calibration.json', b'{"a": ' + b'9' * 9999 + b'}'), ('error_prior.npz', b'PK\x03\x04 no zip'),
    ('error_prior.npz', b''), ('head_pose.onnx', b'no network'), ('head_pose.onnx', b'')])
def test_damaged_networks_end_in_one_line_of_run_and_of_check(tmp_path, capfd, name, content):
    from depthface_ros.engines import MODELS_FOLDER
    folder = tmp_path / 'mine'
    folder.mkdir()
    for file in MODELS_FOLDER.iterdir():
        if '.int8' not in file.name:
            os.symlink(file, folder / file.name)
    (folder / name).unlink()
    (folder / name).write_bytes(content)
    np.savez(tmp_path / 'a.npz', depth_mm=np.full((60, 80), 900, np.uint16))
    assert main(['run', str(tmp_path / 'a.npz'), '--intrinsics', '66,66', '--engine', 'cpu',
                 '--models', str(folder), '--out', str(tmp_path / 'out')]) == 2
    out, err = capfd.readouterr()
    assert len(err.strip().splitlines()) == 1 and name in err and 'Traceback' not in out + err
    main(['check', '--models', str(folder)])
    out, err = capfd.readouterr()
    assert 'Traceback' not in out + err and name in out


def test_pictures_of_images_of_any_shape_stay_small(tmp_path):
    import cv2

    from depthface_ros.io.frame import Frame
    from depthface_ros.io.writers import MAX_PICTURE_SIDE, picture_of
    for shape in ((1, 10_000), (10_000, 1), (1, 1), (480, 640), (2160, 3840)):
        frame = Frame(0, np.full(shape, 1000, np.uint16), Intrinsics(600.0, 600.0, 9.0, 9.0), 'a')
        depth, camera, scale = picture_of(frame)
        assert max(depth.shape) * scale <= MAX_PICTURE_SIDE and scale >= 1
        assert camera.fx / max(depth.shape) == pytest.approx(600 / max(shape), rel=0.01)
    np.savez(tmp_path / 'a.npz', depth_mm=np.full((3, 1, 10_000), 900, np.uint16))
    assert main(['run', str(tmp_path / 'a.npz'), '--intrinsics', '600,600', '--engine', 'cpu',
                 '--out', str(tmp_path / 'out'), '--video', '--sheet']) == 0
    video = cv2.VideoCapture(str(tmp_path / 'out' / 'overlay.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert video.get(cv2.CAP_PROP_FRAME_WIDTH) <= MAX_PICTURE_SIDE
    assert max(cv2.imread(str(tmp_path / 'out' / 'sheet.png')).shape) < 6000


@pytest.mark.parametrize('stamp', [lambda ns: 1, lambda ns: 0, lambda ns: ns - ns % 10 ** 10])
def test_stamps_that_stand_still_are_replaced_by_the_times_of_recording(tmp_path, capsys, stamp):
    bag = Bag(tmp_path / 'bag')
    for frame in list(open_recording(SAMPLE))[10:18]:
        bag.write(INFO, bag.info(frame.intrinsics, frame.depth.shape), frame.stamp_ns)
        bag.write(TOPIC, bag.image(frame.depth, stamp(frame.stamp_ns)), frame.stamp_ns)
    assert main(['run', str(bag.close()), '--engine', 'cpu', '--out', str(tmp_path / 'out')]) == 0
    found = rows(tmp_path / 'out')
    assert len({row['id'] for row in found}) == 2 and len({row['stamp'] for row in found}) >= 4
    assert 'time of arrival is used instead' in capsys.readouterr().err or stamp(5) == 0


@pytest.mark.parametrize('depth, found', [
    (np.full((48, 64), 5000, np.uint16), 'a median depth of 5.00 m'),
    (np.zeros((48, 64), np.uint16), 'no valid depth')])
def test_a_run_without_faces_names_what_to_check(tmp_path, capsys, depth, found):
    np.savez(tmp_path / 'a.npz', depth_mm=depth, K=[60.0, 60.0, 31.5, 23.5])
    assert main(['run', str(tmp_path / 'a.npz'), '--engine', 'cpu',
                 '--out', str(tmp_path / 'out')]) == 0
    errors = capsys.readouterr().err
    assert f'no faces: the last image has {found} and a focal length of 60 px' in errors
    assert '--depth-unit' in errors


def test_png_files_of_one_folder_are_one_recording(tmp_path, capsys):
    cv2 = pytest.importorskip('cv2')
    frames = list(open_recording(SAMPLE))[30:33]
    camera = {name: getattr(frames[0].intrinsics, name) for name in ('fx', 'fy', 'cx', 'cy')}
    (tmp_path / 'camera.json').write_text(json.dumps(camera))
    for number, frame in zip((9, 10, 11), frames):
        cv2.imwrite(str(tmp_path / f'{number}.png'), frame.depth)
    files = [str(tmp_path / f'{number}.png') for number in (10, 11, 9)]  # as a shell sorts them
    assert main(['run', *files, '--engine', 'cpu', '--out', str(tmp_path / 'out')]) == 0
    assert '3 .png files' in capsys.readouterr().out
    assert list(dict.fromkeys(row['frame'] for row in rows(tmp_path / 'out'))) == ['9', '10', '11']
