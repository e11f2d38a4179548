# SPDX-License-Identifier: Apache-2.0
"""Tests talk DDS among themselves only: a domain per test process, this machine only."""

from __future__ import annotations

import os

os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)  # 0..101 are free of port clashes
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
