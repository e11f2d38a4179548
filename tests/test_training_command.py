# SPDX-License-Identifier: Apache-2.0
"""`python -m training` as a user calls it."""
from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip('torch')


@pytest.mark.parametrize('arguments, found', [
    (['pose', '--pools', '/no/pools'], 'no shards in /no/pools/windows-train: run `python -m training render` first'),
    (['evaluate', '--dataset', 'biwi', '--folder', '/no/biwi'], '/no/biwi does not exist')])
def test_what_a_user_can_mend_is_said_in_one_line(arguments, found):
    call = [sys.executable, '-m', 'training', *arguments]
    done = subprocess.run(call, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, f'python -m training: error: {found}\n')


def test_development_mode_keeps_the_traceback():
    call = [sys.executable, '-X', 'dev', '-m', 'training', 'pose', '--pools', '/no/pools']
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 1 and 'Traceback' in done.stderr and 'FileNotFoundError' in done.stderr
