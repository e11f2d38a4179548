# SPDX-License-Identifier: Apache-2.0
"""Build messages into the running virtual environment: `python .../build.py tf2_msgs hri_msgs`.

PyPI has ROS 2 but lacks these packages. This builds them from the definitions beside this file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np

DEFINITIONS = Path(__file__).parent


def correct_include_folders(prefix: Path) -> None:
    """Correct the paths in the wheels' exported cmake files to this Python and its numpy headers.

    They name folders of the machine that built the wheels (/opt/python/cp3XX-cp3XX/...).
    """
    here = {r'/opt/python/[^;"]*?/numpy/_?core/include': np.get_include(),
            r'/opt/python/[^;"]*?/include/python3\.\d+t?': sysconfig.get_paths()['include']}
    for file in prefix.glob('share/*/cmake/export_*.cmake'):
        text = corrected = file.read_text()
        for pattern, folder in here.items():
            corrected = re.sub(pattern, lambda _, folder=folder: folder, corrected)
        if corrected != text:
            file.write_text(corrected)


def build(package: str, prefix: Path, environment: dict[str, str]) -> None:
    """Configure, build and install; the tools' output is shown only if one fails."""
    with tempfile.TemporaryDirectory() as folder:
        configure = ['cmake', '-S', DEFINITIONS / package, '-B', folder,
                     '-DCMAKE_BUILD_TYPE=Release', '-DBUILD_TESTING=OFF',
                     f'-DCMAKE_PREFIX_PATH={prefix}', f'-DCMAKE_INSTALL_PREFIX={prefix}',
                     f'-DPython3_EXECUTABLE={sys.executable}']
        for command in (configure, ['cmake', '--build', folder, '--parallel'],
                        ['cmake', '--install', folder]):
            done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            if done.returncode:
                failed = ' '.join(map(str, command[:2]))
                sys.exit(f'{done.stdout}\n{package} did not build: `{failed}` failed, see above')


def main() -> None:
    """Build the packages named on the command line."""
    prefix = Path(sys.prefix)
    if sys.prefix == sys.base_prefix:
        sys.exit(f'{sys.executable} is not in a virtual environment; nothing was built')
    correct_include_folders(prefix)
    # Only the environment itself is searched: packages of a sourced ROS must not be mixed in.
    ros = ('AMENT_PREFIX_PATH', 'CMAKE_PREFIX_PATH', 'COLCON_PREFIX_PATH', 'PYTHONPATH')
    environment = {name: value for name, value in os.environ.items() if name not in ros}
    environment['PATH'] = f'{prefix}/bin{os.pathsep}{environment.get("PATH", "")}'
    for package in sys.argv[1:]:
        build(package, prefix, environment)


if __name__ == '__main__':
    main()
