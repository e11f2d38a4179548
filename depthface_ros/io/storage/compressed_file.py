# SPDX-License-Identifier: Apache-2.0
"""Files that a recorder compressed as a whole (rosbag2's compression mode FILE: .mcap.zstd)."""
from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from depthface_ros.io.storage.parts import zstd_module

BLOCK = 1 << 20  # bytes
MAX_RATIO = 200  # of a recording to its compressed file; depth images reach 20


def decompressed(path: Path, known_beginnings: tuple[bytes, ...]) -> tuple[Path, bool]:
    """Decompress a file into the folder for temporary files.

    :returns: the new file, which the caller deletes, and whether the end is missing.
    :raises ValueError: the content is not a recording, or is out of proportion to the file.
    """
    limit = min(MAX_RATIO * path.stat().st_size + BLOCK,
                shutil.disk_usage(tempfile.gettempdir()).free // 2)
    zstd = zstd_module()
    decompressor, written = zstd.ZstdDecompressor(), 0
    number, name = tempfile.mkstemp(prefix='depthface_')
    target = Path(name)
    try:
        with path.open('rb') as source, os.fdopen(number, 'wb') as file:
            while not decompressor.eof:
                data = source.read(BLOCK) if decompressor.needs_input else b''
                if not data and decompressor.needs_input:
                    return target, True
                try:
                    block = decompressor.decompress(data, BLOCK)
                except zstd.ZstdError:
                    if not written:
                        raise
                    return target, True
                if not written and not block.startswith(known_beginnings):
                    raise ValueError('the compressed content is no recording')
                written += len(block)
                if written > limit:
                    raise ValueError(f'the content exceeds {limit >> 20} MB: out of proportion to '
                                     'the compressed file, or too large for the temporary folder')
                file.write(block)
    except BaseException:
        target.unlink()
        raise
    return target, False
