# SPDX-License-Identifier: Apache-2.0
"""The command `python -m training`."""
from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('torch')

from training import __main__ as command_line
from training.models.provenance import run_folder
from training.train import all_stages


@pytest.mark.parametrize('arguments, found', [
    (['pose', '--pools', '/no/pools'], 'no shards in /no/pools/windows-train: run `python -m training render` first'),
    (['evaluate', '--dataset', 'biwi', '--folder', '/no/biwi'], '/no/biwi does not exist')])
def test_errors_that_users_can_mend_are_one_line(arguments, found):
    call = [sys.executable, '-m', 'training', *arguments]
    done = subprocess.run(call, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, f'python -m training: error: {found}\n')


def test_development_mode_keeps_the_traceback():
    call = [sys.executable, '-X', 'dev', '-m', 'training', 'pose', '--pools', '/no/pools']
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 1 and 'Traceback' in done.stderr and 'FileNotFoundError' in done.stderr


@pytest.mark.parametrize('preset', all_stages.PRESETS)
def test_all_stages_accept_the_options_of_all(preset, monkeypatch):
    options = {}

    def parse(arguments):
        command, *rest = arguments
        parser = argparse.ArgumentParser()
        importlib.import_module(command_line.COMMANDS[command][0]).add_arguments(parser)
        options[command] = parser.parse_args(rest)
    main = command_line.main
    monkeypatch.setattr(command_line, 'main', parse)
    main(['all', '--preset', preset, '--start', 'models', '--pools', 'pools', '--seed', '3'])
    assert {name for name, given in options.items() if getattr(given, 'start', None) == Path('models')} == {
        *all_stages.TRAINED}
    assert {given.pools for given in options.values() if hasattr(given, 'pools')} == {Path('pools')}
    assert {given.seed for given in options.values() if hasattr(given, 'seed')} == {3}
    for name in ('pose', 'shape'):  # the batches of a CPU are too small for other statistics, or larger steps
        assert options[name].keep_statistics == (preset == 'cpu')
        assert (options[name].learning_rate < 1e-4) == (preset == 'cpu')


def test_former_names_of_commands_and_options_are_accepted_with_a_warning(capsys):
    assert command_line.current_names(['finder', '--runs', 'finder']) == ['detector', '--runs', 'finder']
    assert command_line.current_names(['render', '--finder=models']) == ['render', '--detector=models']
    assert command_line.current_names(['pose', '--seed', '3']) == ['pose', '--seed', '3']
    assert capsys.readouterr().err.splitlines() == [
        'finder is called detector now', '--finder is called --detector now']


def test_a_run_of_an_earlier_release_is_resumed_where_it_is(tmp_path):
    assert run_folder(tmp_path, 'head_finder') == tmp_path / 'detector'
    (tmp_path / 'finder').mkdir()
    assert run_folder(tmp_path, 'head_finder') == tmp_path / 'finder'
    assert run_folder(tmp_path, 'head_pose') == tmp_path / 'pose'
