# SPDX-License-Identifier: Apache-2.0
"""The provenance of training in a model card."""
from __future__ import annotations

import json
from argparse import Namespace

import pytest

pytest.importorskip('torch')

from drawn_faces import write_models, write_pool

from training.__main__ import main
from training.models.provenance import note_people


@pytest.fixture
def card(tmp_path):
    """Trains a pose network briefly and exports it: its card, anew at each call."""
    write_pool(tmp_path, 'train')
    write_pool(tmp_path, 'validation')

    def train(*arguments: str) -> dict:
        main(['pose', '--pools', str(tmp_path), '--runs', str(tmp_path / 'runs'), '--steps', '2', '--batch', '4',
              '--loader-workers', '0', '--seed', '5', '--device', 'cpu', *arguments])
        main(['export', '--runs', str(tmp_path / 'runs'), '--networks', 'head_pose', '--out', str(tmp_path / 'out')])
        return json.loads((tmp_path / 'out' / 'head_pose.json').read_text())
    return train


def test_a_card_records_data_machine_and_schedule(card, tmp_path):
    for sources in ({}, {'ict': '/somewhere'}):  # rendered in two sittings
        note_people(tmp_path, Namespace(**{'ict': None, 'hair': None} | sources))
    told = card()
    assert told['data'] == 'synthetic only: Anny (CC0 data), ICT-FaceKit light (MIT)'
    assert told['samples'] == 8 and told['training_steps'] == 2 and told['started_from'] is None
    assert told['schedule'] == {'steps': 2, 'batch': 4, 'parts': 1, 'learning_rate': 0.002,
                                'keep_statistics': False, 'seed': 5}
    (machine,) = told['trained_on']
    assert machine.startswith('1 x ') and 'PyTorch' in machine and machine.endswith(', float32')  # on a CPU


def test_data_sets_without_a_note_have_unknown_people(card):
    assert card()['data'] == 'not known'


def test_a_card_records_the_start_of_training_even_if_its_files_are_gone(card, tmp_path):
    start = tmp_path / 'models'
    start.mkdir()
    write_models(start)
    (start / 'head_pose.json').write_text('{"network": "head_pose", "sha256": "of the one before"}')
    assert card('--start', str(start))['started_from']['sha256'] == 'of the one before'
    (start / 'head_pose.json').write_text('{"sha256": "of another"}')
    assert card('--start', str(start))['started_from']['sha256'] == 'of the one before'


def test_a_run_that_never_came_to_a_checkpoint_leaves_nothing_behind(card, tmp_path):
    (tmp_path / 'runs' / 'pose').mkdir(parents=True)
    (tmp_path / 'runs' / 'pose' / 'run.json').write_text('{"started_from": {}, "trained_on": ["another machine"]}')
    told = card()
    assert told['started_from'] is None and len(told['trained_on']) == 1
