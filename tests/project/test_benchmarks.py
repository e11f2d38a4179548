# SPDX-License-Identifier: Apache-2.0
"""Benchmarks are run by hand: a test that they still start."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / 'benchmarks'
COMMANDS = sorted(path.name for path in FOLDER.glob('*.py') if 'argparse' in path.read_text())


@pytest.mark.parametrize('command', COMMANDS)
def test_it_describes_itself(command):
    done = subprocess.run([sys.executable, FOLDER / command, '--help'], capture_output=True,
                          text=True, timeout=120)
    if 'rclpy' in done.stderr or 'sensor_msgs' in done.stderr:
        pytest.skip('needs ROS')
    assert done.returncode == 0, done.stderr
    assert 'usage:' in done.stdout
