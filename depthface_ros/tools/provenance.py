# SPDX-License-Identifier: Apache-2.0
"""When, where and by what code figures were measured."""
from __future__ import annotations

import subprocess
from datetime import date
from pathlib import Path

from depthface_ros.tools.bench import machine

ROOT = Path(__file__).resolve().parents[2]


def measured() -> dict[str, str]:
    """Return date, commit and machine, for the `measured` entry of a JSON file of figures."""
    return {'date': date.today().isoformat(), 'commit': _commit(), 'machine': machine()}


def _commit() -> str:
    """Return the short hash of the checkout, with a plus sign where files differ from it."""
    command = ['git', '-C', str(ROOT), 'describe', '--always', '--exclude=*', '--dirty=+']
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return 'unknown'
    return done.stdout.strip()
