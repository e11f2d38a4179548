# SPDX-License-Identifier: Apache-2.0
"""The boundary to files: any exception of a reader becomes one line with file, place and cause."""
from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from depthface_ros.io.quoting import clipped

MAX_TEXT = 400  # characters of an error


def one_line(error: BaseException) -> str:
    """Return the text of an error as one line of printable characters, of limited length."""
    text = as_line(str(error))
    if text and (type(error) is ValueError or isinstance(error, OSError)):
        return text
    name = type(error).__name__
    return f'{name}: {text}' if text else name


def as_line(text: str) -> str:
    """Return a text as one line of printable characters, of limited length."""
    return clipped(' '.join(text.split()), MAX_TEXT)


@contextmanager
def silenced_decoders() -> Iterator[None]:
    """Keep C libraries from writing to stderr; exceptions report their errors."""
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Raise ValueError with the place for any exception inside: 'PLACE: cause'."""
    place = as_line(place)
    try:
        yield
    except Exception as error:  # readers of foreign bytes raise anything
        text = one_line(error)
        raise ValueError(text if text.startswith(place) else f'{place}: {text}') from error


@contextmanager
def writing(place: str | os.PathLike) -> Iterator[None]:
    """Raise ValueError with the place for an error of the file system inside."""
    try:
        yield
    except BrokenPipeError:  # of the output that people read
        raise
    except OSError as error:
        raise ValueError(f'{as_line(str(place))} cannot be written ({one_line(error)}): expected '
                         'a folder with free space that you may write to') from error
