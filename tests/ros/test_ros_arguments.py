# SPDX-License-Identifier: Apache-2.0
"""Mistakes in the node's arguments, which ROS ignores, are reported at the start."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')
pytest.importorskip('onnxruntime')


def warnings_at_start(*arguments: str) -> str:
    with subprocess.Popen([sys.executable, '-m', 'depthface_ros.ros', *arguments], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        lines = []
        for line in process.stdout:
            if 'loading engine' in line:
                break
            lines.append(line)
        process.terminate()
        process.stdout.read()
    assert process.returncode == 0
    return ''.join(lines)


def test_parameters_files_and_arguments_without_effect_are_named(tmp_path):
    other, own = tmp_path / 'other.yaml', tmp_path / 'own.yaml'
    other.write_text('depthface_node:\n  ros__parameters: {engine: cpu}\n')
    own.write_text('front:\n  depthface:\n    ros__parameters: {estimator: {min_confidance: 0.5}}\n')
    text = warnings_at_start(
        'camera', '--ros-args', '--params-file', str(other), '--params-file', str(own),
        '-p', 'colour:=true', '-r', '__ns:=/front')
    assert (f'{other} holds parameters of /depthface_node, so it has no effect on '
            '/front/depthface: call its section /front/depthface, or /**') in text
    assert 'estimator.min_confidance' in text and 'did you mean estimator.min_confidence?' in text
    assert 'there is no parameter colour' in text
    assert 'camera has no effect: the arguments of a node stand behind --ros-args' in text
    assert str(own) not in text and 'Traceback' not in text


def test_arguments_with_effect_are_passed_over_in_silence(tmp_path):
    file = tmp_path / 'robot.yaml'
    file.write_text('/**:\n  ros__parameters: {use_sim_time: false}\n'
                    'planner:\n  ros__parameters: {speed: 3.0}\n')
    assert warnings_at_start(
        '--ros-args', '--params-file', str(file), '-p', 'engine:=cpu', '-r', '__node:=faces', '-p',
        'qos_overrides./depth/image.subscription.reliability:=reliable') == ''


def test_help_is_printed_without_a_node():
    done = subprocess.run([sys.executable, '-m', 'depthface_ros.ros', '--help'], text=True,
                          capture_output=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith('usage: depthface_node')
