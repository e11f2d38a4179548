# SPDX-License-Identifier: Apache-2.0
"""Arrays of .npz files, read piece by piece: what a header claims is not allocated.

An .npz is a zip archive of .npy files, each with a header of shape and type before the numbers.
"""
from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy

MAX_ARRAY_BYTES = 1 << 26  # of an array that is read at once
MAX_ARRAYS = 1000


class ArrayHeader(NamedTuple):
    """What an array claims to be."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class NpzFile:
    """The arrays of an .npz file by name. No error of a header costs more than the file has."""

    def __init__(self, file: Path):
        """Read the headers.

        :raises ValueError, zipfile.BadZipFile, zlib.error: it is no .npz, or is damaged.
        """
        self._zip = zipfile.ZipFile(file)
        entries = [info for info in self._zip.infolist() if info.filename.endswith('.npy')]
        if len(entries) > MAX_ARRAYS:
            raise ValueError(f'{len(entries)} arrays: expected at most {MAX_ARRAYS}')
        self._entries = {info.filename.removesuffix('.npy'): info for info in entries}
        self.headers = {name: self._open(name)[1] for name in self._entries}

    def __contains__(self, name: str) -> bool:
        return name in self.headers

    def array(self, name: str) -> np.ndarray:
        """Read a small array.

        :raises ValueError: it has more than `MAX_ARRAY_BYTES`, or fewer than it claims.
        """
        stream, header = self._open(name)
        if header.nbytes > MAX_ARRAY_BYTES:
            raise ValueError(f'{name} has {header.nbytes} bytes: expected at most '
                             f'{MAX_ARRAY_BYTES}')
        with stream:
            numbers = np.frombuffer(_read(stream, header.nbytes, name), header.dtype)
        return numbers.reshape(header.shape, order='F' if header.fortran_order else 'C')

    def images(self, name: str) -> Iterator[np.ndarray]:
        """Yield the images (H, W) of an array (H, W) or (N, H, W), one at a time.

        :raises ValueError: an image has more than `MAX_ARRAY_BYTES`, or the file was cut off.
        """
        stream, header = self._open(name)
        if header.fortran_order:
            array = self.array(name)
            yield from array.reshape(-1, *array.shape[-2:])
            return
        shape = header.shape[-2:]
        size = math.prod(shape) * header.dtype.itemsize
        if size > MAX_ARRAY_BYTES:
            raise ValueError(f'{name} has images of {size} bytes: expected at most '
                             f'{MAX_ARRAY_BYTES}')
        with stream:
            for _ in range(header.shape[0] if len(header.shape) == 3 else 1):
                yield np.frombuffer(_read(stream, size, name), header.dtype).reshape(shape)

    def _open(self, name: str):
        """Return a stream at the numbers of an array, and its header."""
        stream = self._zip.open(self._entries[name])
        version = npy.read_magic(stream)
        if version == (1, 0):
            header = ArrayHeader(*_ordered(npy.read_array_header_1_0(stream)))
        elif version == (2, 0):
            header = ArrayHeader(*_ordered(npy.read_array_header_2_0(stream)))
        else:
            raise ValueError(f'{name} is in version {version} of .npy: expected 1.0 or 2.0')
        if header.dtype.hasobject or header.dtype.itemsize == 0:
            raise ValueError(f'{name} holds {header.dtype}: expected numbers')
        if min(header.shape, default=1) < 0 or header.nbytes > self._entries[name].file_size:
            raise ValueError(f'{name} claims the shape {header.shape}: more than the file holds')
        return stream, header


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a small .npz file; see :class:`NpzFile` for errors raised."""
    npz = NpzFile(file)
    return {name: npz.array(name) for name in npz.headers}


def _ordered(header) -> tuple:
    shape, fortran_order, dtype = header
    return shape, dtype, fortran_order


def _read(stream, count: int, name: str) -> bytes:
    data = stream.read(count)
    while len(data) < count:
        more = stream.read(count - len(data))
        if not more:
            raise ValueError(f'{name} ends after {len(data)} of {count} bytes: the file '
                             'was cut off')
        data += more
    return data
