# SPDX-License-Identifier: Apache-2.0
"""Launch files in a process, run by the real `launch` and `launch_ros` from an installed package."""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import setuptools

ROOT = Path(__file__).resolve().parents[2]
# What `ros2 launch` does, which is not on PyPI either.
LAUNCH = '''
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
arguments = [argument.split(':=', 1) for argument in sys.argv[2:]]
service = LaunchService(argv=sys.argv[2:])
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments)]))
sys.exit(service.run())
'''


@contextmanager
def installed(prefix: Path) -> Iterator[Path]:
    """Install the package into a folder as colcon would; yield its share folder, which ament finds."""
    told = {}
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.chdir(ROOT)
        context.setattr(setuptools, 'setup', lambda **arguments: told.update(arguments))
        runpy.run_path(str(ROOT / 'setup.py'))
    for folder, files in told['data_files']:
        (prefix / folder).mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy(ROOT / file, prefix / folder)
    executable = prefix / 'lib' / 'depthface_ros' / 'depthface_node'
    write_program(executable, f'#!{sys.executable}\nimport sys\n'
                  'from depthface_ros.ros.__main__ import main\nsys.exit(main())\n')
    # Not on PyPI either: prints its arguments.
    write_program(prefix / 'lib' / 'rviz2' / 'rviz2',
                  f'#!{sys.executable}\nimport sys\nprint("seen by", *sys.argv[1:])\n')
    (prefix / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'rviz2').touch()
    patch.setenv('AMENT_PREFIX_PATH', os.pathsep.join(
        filter(None, [str(prefix), os.environ.get('AMENT_PREFIX_PATH')])))
    patch.setenv('PYTHONPATH', os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
    yield prefix / 'share' / 'depthface_ros'
    patch.undo()


def write_program(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


class Launched:
    """A running launch file and its output."""

    def __init__(self, file: Path, *arguments: str, log: Path):
        self._log = log
        self._output = log.open('w')
        self._process = subprocess.Popen(
            [sys.executable, '-c', LAUNCH, str(file), *arguments], stdout=self._output,
            stderr=subprocess.STDOUT, cwd=log.parent, start_new_session=True)

    def wait_for(self, text: str, seconds: float = 60.0) -> str:
        """Wait for a text; return everything printed so far."""
        end = time.monotonic() + seconds
        while text not in (printed := self._log.read_text()):
            assert self._process.poll() is None and time.monotonic() < end, printed
            time.sleep(0.05)
        return printed

    def wait(self, seconds: float = 60.0) -> str:
        assert self._process.wait(seconds) == 0, self._log.read_text()
        return self._log.read_text()

    def status(self, seconds: float) -> int:
        return self._process.wait(seconds)

    def interrupt(self) -> None:
        """Press Ctrl-C: the terminal signals the whole group."""
        os.killpg(self._process.pid, signal.SIGINT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self.interrupt()
            self._process.wait(20)
        self._output.close()
