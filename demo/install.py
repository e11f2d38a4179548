# SPDX-License-Identifier: Apache-2.0
"""Prepare .venv for the demo or the tests: `python3 demo/install.py demo|test [folder]`.

Requires only Python; a second run takes no time. Each missing requirement of this machine is
reported in one line.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Additional packages of the tests, not built for the demo.
MESSAGES = {'demo': ['tf2_msgs'], 'docs': ['tf2_msgs'], 'test': ['tf2_msgs', 'hri_msgs'],
            'lint': ['tf2_msgs', 'hri_msgs']}
VERSIONS = [(3, minor) for minor in range(10, 15)]
# Messages of pip when it cannot reach its index.
NETWORK_ERRORS = (
    'Failed to establish a new connection', 'NameResolutionError', 'Network is unreachable',
    'Temporary failure in name resolution', 'ProxyError', 'ReadTimeoutError',
    'ConnectTimeoutError', 'from versions: none')
# Prints why a Python is unsuitable, or nothing.
PROBE = f'''
import os, sys, sysconfig
header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
try:
    import ensurepip, venv
except ImportError:
    print("it lacks the venv module (on Debian and Ubuntu: apt install python3-venv)"); sys.exit()
if sys.version_info[:2] not in {VERSIONS}:
    print("it is Python %d.%d" % sys.version_info[:2])
elif not os.path.exists(header):
    print("it lacks its C headers, %s (on Debian and Ubuntu: apt install python3-dev)" % header)
'''


def main():
    """Install what is missing; exit with one line if a requirement is not met."""
    purpose = sys.argv[1]
    venv = Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / '.venv').resolve()
    requirements = ROOT / 'requirements' / f'{purpose}.txt'
    messages = [file for file in sorted((ROOT / 'demo' / 'messages').rglob('*')) if file.is_file()]
    sources = [*sorted(requirements.parent.glob('*.txt')), ROOT / 'setup.py',
               ROOT / 'pyproject.toml', *messages]
    fingerprint = hashlib.sha256(b''.join(file.read_bytes() for file in sources)).hexdigest()
    stamp, place = venv / f'installed-for-{purpose}', venv / 'place'
    python = venv / 'bin' / 'python'
    # A virtual environment contains absolute paths: a moved one is rebuilt.
    usable = python.exists() and place.is_file() and place.read_text() == str(venv)
    if usable and stamp.is_file() and stamp.read_text() == fingerprint:
        return
    check_tools()
    if not usable or defect(python):
        run([suitable_python(), '-m', 'venv', '--clear', str(venv)], f'making {venv.name}')
        place.write_text(str(venv))
    log = venv / 'install.log'
    pip = [str(python), '-m', 'pip', '--disable-pip-version-check', 'install']
    run([*pip, '-r', str(requirements)], f'installing requirements/{purpose}.txt', log)
    run([*pip, '--no-build-isolation', '--no-deps', '-e', str(ROOT)],
        'installing depthface_ros', log)
    for package in MESSAGES[purpose]:
        run([str(python), str(ROOT / 'demo' / 'messages' / 'build.py'), package],
            f'building {package}', log)
    stamp.write_text(fingerprint)


def check_tools():
    """Exit unless a C++ compiler, make and cmake are installed."""
    compiler = os.environ.get('CXX', 'c++').split()[0]
    if not any(map(shutil.which, (compiler, 'g++', 'clang++'))):
        sys.exit('A C++ compiler is needed to build tf2_msgs; none was found (on Debian and '
                 'Ubuntu: apt install g++ make cmake).')
    for tool in ('cmake', 'make'):
        if not shutil.which(tool):
            sys.exit(f'{tool} is needed to build tf2_msgs; it was not found (on Debian and '
                     f'Ubuntu: apt install {tool}).')


def suitable_python():
    """Return the running Python or another suitable one; exit if there is none."""
    names = [sys.executable, *(f'python3.{minor}' for _, minor in reversed(VERSIONS)),
             '/usr/bin/python3']
    found = {name: shutil.which(name) for name in names}
    defects = {name: defect(path) for name, path in found.items() if path}
    for name, problem in defects.items():
        if not problem:
            return found[name]
    wanted = f'{VERSIONS[0][0]}.{VERSIONS[0][1]} to {VERSIONS[-1][0]}.{VERSIONS[-1][1]}'
    sys.exit(f'Python {wanted} with venv and C headers is needed; found '
             + '; '.join(f'{name}: {problem}' for name, problem in defects.items())
             + '. `make PYTHON=/path/to/python` uses another one.')


def defect(python):
    """Return why a Python is unsuitable; '' if it is suitable."""
    try:
        done = subprocess.run([str(python), '-c', PROBE], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f'it does not run ({error})'
    return done.stdout.decode().strip() or ('' if done.returncode == 0 else 'it does not run')


def run(command, title, log=None):
    """Run a command and show a count of its steps; exit with the cause if it fails."""
    start, steps, output = time.monotonic(), 0, []
    show(f'{title} ...', 0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, errors='replace') as process:
        for line in process.stdout:
            output.append(line)
            steps += line.startswith(('Collecting', 'Requirement already'))
            show(f'{title} ... {time.monotonic() - start:.0f} s'
                 + (f', {steps} packages' if steps else ''))
    show(f'{title}: {time.monotonic() - start:.0f} s', 0, end='\n')
    text = ''.join(output)
    if log:
        with log.open('a') as file:
            file.write(text)
    if process.returncode == 0:
        return
    network = next((error for error in NETWORK_ERRORS if error in text), None)
    if network:
        sys.exit('No network: pip cannot reach a package index that has what it needs '
                 f'({network}). Connect, or point PIP_INDEX_URL to a mirror, and run this again.')
    print(''.join(output[-15:]), file=sys.stderr)
    sys.exit(f'{title} failed, see above' + (f' and {log}' if log else ''))


def show(text, pause=20.0, end=''):
    """Overwrite the current line of a terminal; in a file, write a line every `pause` seconds."""
    if sys.stdout.isatty():
        print(f'\r\033[K{text}', end=end, flush=True)
    elif time.monotonic() - show.latest >= pause:
        print(text, flush=True)
        show.latest = time.monotonic()


show.latest = 0.0


if __name__ == '__main__':
    main()
