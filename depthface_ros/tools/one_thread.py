# SPDX-License-Identifier: Apache-2.0
"""Imported by programs before numpy: one thread for its linear algebra, unless the user says else.

The matrices here are small. Threads would wait for each other, and where others compute as well,
as on any robot, they cost whole cores and many times as long.
"""
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')
