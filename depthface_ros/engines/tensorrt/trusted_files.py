# SPDX-License-Identifier: Apache-2.0
"""Files that only this user, or root, can have written.

Loading an engine file is running code, as NVIDIA warns of files from untrusted sources. So a file
that another user could have written is refused.
"""
from __future__ import annotations

import os
import re
import stat
import tempfile
from pathlib import Path

from depthface_ros.engines import EngineUnavailable

PRIVATE, SHARED = 0o600, 0o644  # modes of files that this user, or everybody, may read


def cache_folder(gpu: str) -> Path:
    """Return this user's folder for engines of one GPU; made, for this user only, if missing.

    :raises EngineUnavailable: it cannot be made, or another user could write to it.
    """
    try:
        home = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache').absolute()
        home.mkdir(parents=True, exist_ok=True)
        folders = [home]
        name = re.sub('[^a-z0-9]+', '-', gpu.lower()).strip('-')
        for part in ('depthface_ros', 'tensorrt', name):
            folders.append(folders[-1] / part)
            folders[-1].mkdir(mode=0o700, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        raise EngineUnavailable(f'the folder for TensorRT engines cannot be made: {error}; set '
                                'XDG_CACHE_HOME to a folder that can be written') from error
    for folder in folders:
        check_folder(folder)
    return folders[-1]


def check_folder(folder: Path, origin: str = '') -> None:
    """Raise EngineUnavailable if a path is no folder, or another user may write to it."""
    if not folder.is_dir():
        raise EngineUnavailable(f'{origin}{folder} is not a folder')
    _check(folder, folder.stat())


def _check(path: Path, status: os.stat_result) -> None:
    """Raise EngineUnavailable if another user than root owns a file or folder, or may write it."""
    user = os.geteuid()
    wrong = None
    if status.st_uid not in (user, 0):
        wrong = f'it belongs to user id {status.st_uid}, expected {user} or 0'
    elif status.st_mode & 0o022:
        wrong = (f'its mode is {stat.S_IMODE(status.st_mode):04o}, so that others may write to '
                 f'it; expected {stat.S_IMODE(status.st_mode) & ~0o022:04o} (chmod go-w)')
    if wrong:
        raise EngineUnavailable(f'{path} is not trusted: {wrong}. An engine file can run any '
                                'code; mend or remove it, then run `depthface build-engines`')


def read_trusted(path: Path) -> bytes | None:
    """Return the bytes of a file, or None if there is none.

    :raises EngineUnavailable: another user could have written it, or it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:  # a symbolic link, or no permission
        raise EngineUnavailable(f'{path} is not trusted: {error.strerror}') from error
    with os.fdopen(descriptor, 'rb') as file:
        _check(path, os.fstat(descriptor))  # of the open file, which nobody can swap
        return file.read()


def write_whole(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Write a file whole or not at all, with the mode :data:`PRIVATE` or :data:`SHARED`."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, 'wb') as file:
            os.fchmod(descriptor, mode)
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
