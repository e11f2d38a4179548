# SPDX-License-Identifier: Apache-2.0
"""Tests talk DDS among themselves only, a domain per test process, and start with usual signals."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest
from hypothesis import settings

os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)  # 0..101 are free of port clashes
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'

# Processes that tests start inherit what nohup, or a shell in the background, ignores.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes depends on the machine, and on what is compiled first.
settings.register_profile('untimed', deadline=None)
settings.load_profile('untimed')


@pytest.fixture(scope='session', autouse=True)
def compiled_loops():
    """Compile the loops before a program that a test starts has to, within the time it is given."""
    from depthface_ros import FaceEstimator, FaceTracker, compiled
    from depthface_ros.engines import EngineUnavailable
    if compiled.AVAILABLE:
        with suppress(EngineUnavailable):  # onnxruntime is not installed
            FaceTracker(FaceEstimator('cpu'))
