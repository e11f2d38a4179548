# SPDX-License-Identifier: Apache-2.0
"""Limit numpy to one thread unless the user sets another number. Programs import it before numpy.

The matrices here are small. More threads wait for each other and occupy cores that a robot needs.
"""
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')
