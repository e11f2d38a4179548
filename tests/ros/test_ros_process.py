# SPDX-License-Identifier: Apache-2.0
"""Start and end of the node as a process."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')
pytest.importorskip('onnxruntime')

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.stop import PATIENCE


@contextmanager
def start(*arguments: str) -> Iterator[subprocess.Popen]:
    """Run a node; a test that fails before the node ends does not wait for it."""
    with subprocess.Popen(
            [sys.executable, '-m', 'depthface_ros.ros', '--ros-args', *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen, text: str) -> str:
    """Return the output of the process up to the line with the text, inclusive."""
    printed = ''
    for line in process.stdout:
        printed += line
        if text in line:
            return printed
    raise AssertionError(f'{text!r} was not printed:\n{printed}')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_node_well(number):
    with start('-p', 'engine:=cpu', '-r', 'depth/image:=/camera/depth/image_raw') as process:
        printed = read_until(process, 'listening to')
        assert '/camera/depth/image_raw' in printed
        time.sleep(0.3)
        process.send_signal(number)
        rest, _ = process.communicate(timeout=10)
    assert process.returncode == 0, rest
    assert 'Traceback' not in printed + rest


def test_a_signal_that_comes_twice_at_once_ends_the_node_well():
    """Ctrl-C, systemd and docker signal the process and its group."""
    with start('-p', 'engine:=cpu') as process:
        read_until(process, 'listening to')
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=10)
    assert process.returncode == 0 and 'Traceback' not in rest, rest


def catches(pid: int, number: int) -> bool:
    """Return whether a process has a handler for a signal."""
    status = Path(f'/proc/{pid}/status').read_text()
    return bool(int(re.search(r'SigCgt:\s*(\w+)', status)[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize('seconds', [0, 0.3, 0.7])
def test_a_signal_during_the_imports_ends_the_node_well(seconds):
    with start('-p', 'engine:=cpu') as process:
        while not catches(process.pid, signal.SIGTERM):  # Python itself has none for this one
            time.sleep(0.005)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and 'Traceback' not in printed, printed


def test_a_later_signal_ends_a_node_that_hangs():
    code = ("import time\nfrom depthface_ros.stop import Stop\nStop()\nprint('up', flush=True)\n"
            'while True: time.sleep(0.1)')
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE,
                          text=True) as process:
        read_until(process, 'up')
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(PATIENCE + 0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == -signal.SIGTERM


def test_the_networks_of_a_folder_are_used_and_named(tmp_path):
    shutil.copytree(MODELS_FOLDER, tmp_path / 'mine')
    card = tmp_path / 'mine' / 'face_shape.json'
    card.write_text(json.dumps(json.loads(card.read_text()) | {'sha256': 'feedbeef' * 8}))
    with start('-p', 'engine:=cpu', '-p', f'models_folder:={tmp_path / "mine"}') as process:
        printed = read_until(process, 'listening to')
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert str(tmp_path / 'mine') in printed and 'NOT the file of its card face_shape' in printed


def test_a_copy_of_a_signal_while_python_ends_does_not_kill_the_node():
    code = '''
import os, signal
from depthface_ros.stop import Stop
class Late:
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGINT):
        kill(pid, number)
late = Late()
Stop().finish()
'''
    subprocess.run([sys.executable, '-c', code], check=True)


def test_closing_the_terminal_ends_the_node_cleanly_except_under_nohup():
    with start('-p', 'engine:=cpu') as process:
        read_until(process, 'listening to')
        process.send_signal(signal.SIGHUP)
        rest, _ = process.communicate(timeout=10)
    assert process.returncode == 0 and 'Traceback' not in rest, rest
    ignoring = ('import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); '
                'from depthface_ros.stop import Stop; stop = Stop(); '
                'signal.raise_signal(signal.SIGHUP); assert not stop')
    subprocess.run([sys.executable, '-c', ignoring], check=True)


@pytest.mark.parametrize('arguments', [
    ('-r', 'depth/image:=/bad topic!'), ('-r', 'depth/image:=/a//b'), ('-r', '__ns:=/bad-ns'),
    ('-r', '__node:=9bad'), ('--log-level', 'loud'), ('--params-file', '/no/such.yaml'),
    ('--no-such-option',)])
def test_arguments_that_ros_refuses_end_the_node_with_one_line(arguments):
    with start(*arguments) as process:
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    *lines_of_rcl, error = printed.splitlines()
    assert 'cannot start: ' in error and arguments[-1] in error, printed
    assert all('[rcl]' in line for line in lines_of_rcl), printed


def test_a_signal_ends_a_node_that_waits_for_its_lifecycle_manager():
    with start('-p', 'autostart:=false') as process:
        time.sleep(3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=10)
    assert process.returncode == 0 and 'listening' not in rest and 'Traceback' not in rest


@pytest.mark.parametrize('parameter, text', [
    ('engine:=abacus', "parameter engine is 'abacus': expected one of auto, tensorrt"),
    ('engine:=cuda', 'cuda'),
    ('models_folder:=/no/models', '/no/models'),
    ('estimator.min_confidence:=1.5', 'min_confidence'),
    ('tracker.sightings:=0.5', 'sightings'),
])
def test_a_parameter_that_makes_no_sense_is_reported_and_ends_the_node(parameter, text):
    with start('-p', parameter) as process:
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert text in printed and 'Traceback' not in printed


def test_a_node_outlives_an_impossible_transition_and_its_managers_shutdown():
    with start('-p', 'engine:=cpu') as process:
        read_until(process, 'listening to')
        rclpy.init()
        manager = rclpy.create_node('manager')
        client = manager.create_client(ChangeState, 'depthface/change_state')
        assert client.wait_for_service(20)
        request = ChangeState.Request()
        request.transition.id = Transition.TRANSITION_CLEANUP  # of an active node: rclpy raises
        heard = threading.Event()

        def ask():
            while not heard.wait(0.5):  # requests may be sent before discovery is complete
                client.call_async(request)
        asking = threading.Thread(target=ask)
        asking.start()
        printed = read_until(process, 'Transition is not registered')
        heard.set()
        asking.join()
        assert 'a callback failed' in printed
        request.transition.id = Transition.TRANSITION_ACTIVE_SHUTDOWN
        future = client.call_async(request)
        rclpy.spin_until_future_complete(manager, future, timeout_sec=20)
        assert future.result().success
        manager.destroy_node()
        rclpy.shutdown()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=10)
    assert process.returncode == 0 and 'Traceback' not in rest
