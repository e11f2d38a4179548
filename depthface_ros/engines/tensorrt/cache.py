# SPDX-License-Identifier: Apache-2.0
"""Where built TensorRT engines are kept: in files that nobody else can write, with their recipes.

Loading an engine file is running it: NVIDIA says so of any file from an untrusted source. So these
files are built here, never shipped or downloaded, and one that another user could have written is
refused.
"""
from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from depthface_ros.engines import EngineUnavailable

SCHEMA = 1
TIMINGS = 'timings.bin'


@dataclass(frozen=True)
class Recipe:
    """All that a plan depends on: if any of it changes, the plan is built anew."""

    network: str
    onnx_sha256: str
    precision: str
    shapes: tuple  # of the smallest and the largest input, batch axis included
    outputs: dict  # name -> shape without the batch axis
    tensorrt: str
    gpu: str
    compute_capability: str
    schema: int = SCHEMA


def cache_folder(gpu: str) -> Path:
    """This user's folder for engines of one GPU; made, with access for nobody else, if missing.

    :raises EngineUnavailable: it, or a folder above it, could be written by another user.
    """
    home = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache').absolute()
    home.mkdir(parents=True, exist_ok=True)
    _check(home, home.stat(), allow_root=True)
    folder = home
    for part in ('depthface_ros', 'tensorrt', re.sub('[^a-z0-9]+', '-', gpu.lower()).strip('-')):
        folder = folder / part
        folder.mkdir(mode=0o700, exist_ok=True)
        _check(folder, folder.lstat())
    return folder


def _check(path: Path, status: os.stat_result, allow_root: bool = False) -> None:
    """Raise EngineUnavailable if another user owns this file or folder, or may write to it."""
    user = os.geteuid()
    wrong = None
    if status.st_uid != user and not (allow_root and status.st_uid == 0):
        wrong = f'it belongs to user id {status.st_uid}, expected {user}'
    elif stat.S_ISLNK(status.st_mode):
        wrong = 'it is a symbolic link'
    elif status.st_mode & 0o022:
        expected = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
        wrong = (f'its mode is {stat.S_IMODE(status.st_mode):04o}, so that others may write to '
                 f'it; expected {expected:04o}')
    if wrong:
        raise EngineUnavailable(f'{path} is not trusted: {wrong}. An engine file can run any '
                                'code; mend or remove it, then run `depthface build-engines`')


def read_private(path: Path) -> bytes | None:
    """The bytes of a file, or None if there is none.

    :raises EngineUnavailable: another user could have written it.
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


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only this user can read or write, whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    try:
        with os.fdopen(descriptor, 'wb') as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load_plan(file: Path, recipe: Recipe) -> tuple[bytes | None, str]:
    """A plan that was built by this recipe; or None, and why not.

    :raises EngineUnavailable: another user could have written it.
    """
    card = read_private(file.with_suffix('.json'))
    plan = read_private(file)
    if plan is None or card is None:
        return None, 'there is none yet'
    try:
        built = json.loads(card)
        found = {name: built[name] for name in asdict(recipe)}
        digest = built['plan_sha256']
    except (ValueError, KeyError, TypeError) as error:
        return None, f'its card {file.with_suffix(".json").name} is broken ({error!r})'
    if digest != hashlib.sha256(plan).hexdigest():
        return None, 'the file is not the one that was built (sha256 differs)'
    expected = json.loads(json.dumps(asdict(recipe)))  # tuples become lists
    for name, value in expected.items():
        if found[name] != value:
            return None, f'{name} was {_short(found[name])} and is {_short(value)} now'
    return plan, ''


def _short(value) -> str:
    text = str(value)
    return text if len(text) <= 60 else f'{text[:12]}...'


def store_plan(file: Path, recipe: Recipe, plan: bytes, **more) -> None:
    """Keep a plan, and beside it a card with its recipe, its hash and `more` about it."""
    card = {**asdict(recipe), 'plan_sha256': hashlib.sha256(plan).hexdigest(),
            'plan_bytes': len(plan), 'built': time.strftime('%Y-%m-%dT%H:%M:%S%z'), **more}
    write_private(file, plan)
    write_private(file.with_suffix('.json'), json.dumps(card, indent=2).encode())


def plan_for(folder: Path, recipe: Recipe, build: Callable[[bytes], tuple[bytes, bytes]],
             may_build: bool, report: Callable[[str], None], **more) -> bytes:
    """The plan of a recipe: from the folder, or else built now and kept there.

    :param build: makes plan and timing cache, given the timing cache of earlier builds.
    :raises EngineUnavailable: it must be built and may not be, or cannot be.
    """
    file = folder / f'{recipe.network}.{recipe.precision}.plan'
    plan, why = load_plan(file, recipe)
    if plan is not None:
        return plan
    if not may_build:
        raise EngineUnavailable(f'the engine of {recipe.network} must be built: {why}; '
                                '`depthface build-engines` does it, once, in some minutes')
    report(f'building the engine of {recipe.network}: {why}')
    started = time.monotonic()
    plan, timings = build(read_private(folder / TIMINGS) or b'')
    report(f'built in {time.monotonic() - started:.0f} s, kept as {file}')
    store_plan(file, recipe, plan, **more)
    if timings:
        write_private(folder / TIMINGS, timings)
    return plan
