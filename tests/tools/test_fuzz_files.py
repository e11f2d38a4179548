# SPDX-License-Identifier: Apache-2.0
"""Mutated files of all kinds, and bombs, end in one line and cost little: a part of the fuzzer."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

for package in ('rosbags', 'cv2', 'onnxruntime', 'ruamel.yaml'):
    pytest.importorskip(package)

ROOT = Path(__file__).resolve().parents[2]


def test_mutated_files_end_in_one_line_and_cost_little(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / 'benchmarks' / 'fuzz_files.py', '--files', '26', '--seed', '1'],
        env=os.environ | {'PYTHONPATH': str(ROOT), 'TMPDIR': str(tmp_path)},
        capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '38 files' in done.stdout and ': 0 wrong' in done.stdout
