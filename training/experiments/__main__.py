# SPDX-License-Identifier: Apache-2.0
"""Run a study that shipped weights do not depend on: `python -m training.experiments COMMAND`."""
from __future__ import annotations

import sys

from training.__main__ import one_line

COMMANDS = {
    'parts': ('training.experiments.parts', 'leave out one part of the pipeline at a time'),
    'known-shapes': ('training.experiments.known_shapes', 'bound the errors of rendered streams'),
    'adapt-study': ('training.experiments.adapt_study', 'compare ways to adapt on a simulated camera'),
    'adapt-people': ('training.experiments.adapt_people', 'compare ways to adapt on real people left out'),
    'ablate': ('training.experiments.ablations', 'train variants of a network briefly and compare them'),
}

if __name__ == '__main__':
    sys.exit(one_line(commands=COMMANDS, program='python -m training.experiments'))
