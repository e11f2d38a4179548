# SPDX-License-Identifier: Apache-2.0
"""However `depthface` ends, recordings stay as they are and results can be read."""
from __future__ import annotations

import csv
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip('rosbags')
cv2 = pytest.importorskip('cv2')
pytest.importorskip('onnxruntime')
from sample_frames import SAMPLE  # noqa: E402

from depthface_ros.cli import main  # noqa: E402
from depthface_ros.io.bags.files import BagFiles  # noqa: E402

COMMAND = [sys.executable, '-m', 'depthface_ros.cli']


def start(*arguments, **options) -> subprocess.Popen:
    return subprocess.Popen([*COMMAND, *map(str, arguments)], text=True, start_new_session=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def wait_until(true, process: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while not true():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)


def has_rows(folder: Path) -> bool:
    return any(file.stat().st_size > 8192 for file in folder.rglob('poses.csv'))


@pytest.mark.parametrize('option', ['--bag', '--summary'])
def test_results_never_replace_the_recording(tmp_path, capsys, option):
    recording = tmp_path / 'walk.mcap'
    recording.write_bytes(SAMPLE.read_bytes())
    (tmp_path / 'link.mcap').symlink_to(recording)
    for result in (recording, tmp_path / 'link.mcap'):
        assert main(['run', str(recording), '--frames', '1', option, str(result),
                     '--out', str(tmp_path / 'out')]) == 2
        assert 'write to another place' in capsys.readouterr().err
    assert recording.read_bytes() == SAMPLE.read_bytes()


def test_results_are_not_put_into_the_folder_of_a_recording(tmp_path, capsys):
    folder = tmp_path / 'walk'
    folder.mkdir()
    (folder / 'walk_0.mcap').write_bytes(SAMPLE.read_bytes())
    assert main(['run', str(folder), '--bag', str(folder / 'faces.mcap')]) == 2
    assert 'which is read' in capsys.readouterr().err


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_with_files_that_can_be_read(tmp_path, number):
    out = tmp_path / 'out'
    with start('run', SAMPLE, '--engine', 'cpu', '--video', '--bag', out / 'faces.mcap',
               '--out', out) as process:
        wait_until(lambda: has_rows(out), process)
        process.send_signal(number)
        process.send_signal(number)  # terminals and systemd may send it twice
        printed, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number and 'Traceback' not in errors
    assert f'interrupted; the results so far are in {out}' in printed
    with (out / 'poses.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert rows and None not in rows[-1].values()
    assert cv2.VideoCapture(str(out / 'overlay.mp4')).read()[0]
    assert sum(BagFiles(out / 'faces.mcap').topics.values()) >= 0
    assert sorted(path.name for path in out.iterdir()) == ['faces.mcap', 'overlay.mp4',
                                                           'poses.csv']


def test_a_signal_during_the_imports_leaves_no_traceback():
    with start('check') as process:
        status = Path(f'/proc/{process.pid}/status')
        wait_until(lambda: int(status.read_text().partition('SigCgt:')[2].split()[0], 16)
                   >> signal.SIGTERM - 1 & 1, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT and 'Traceback' not in errors


def test_a_signal_ends_several_recordings_with_the_table_of_those_that_were_done(tmp_path):
    empty, other = tmp_path / 'empty.mcap', tmp_path / 'other.mcap'
    empty.touch()
    other.write_bytes(SAMPLE.read_bytes())
    with start('run', empty, SAMPLE, other, '--engine', 'cpu', '--out', tmp_path / 'out',
               '--summary', tmp_path / 'counts.json') as process:
        wait_until(lambda: has_rows(tmp_path / 'out'), process)
        process.send_signal(signal.SIGTERM)
        printed, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM and 'Traceback' not in errors
    assert 'nothing was recorded' in printed and printed.count('failed: interrupted') == 2
    assert (tmp_path / 'counts.json').is_file()
    assert 'interrupted' in (tmp_path / 'out' / 'sample' / 'log.txt').read_text()


def test_a_reader_that_leaves_ends_it_without_a_word():
    with start('check') as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 128 + signal.SIGPIPE and errors == ''


def test_a_full_disk_is_named_with_the_folder(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    with start('run', SAMPLE, '--engine', 'cpu', '--meshes', '--frames', '4', '--out',
               tmp_path / 'out', preexec_fn=limit) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and 'Traceback' not in errors
    assert f'{tmp_path}/out cannot be written' in errors


def test_a_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert main(['run', str(SAMPLE), '--engine', 'cpu', '--out', str(tmp_path / 'file')]) == 2
    assert f'{tmp_path}/file cannot be written' in capsys.readouterr().err
