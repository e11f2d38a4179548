# SPDX-License-Identifier: Apache-2.0
"""Examples of README and docs: Python runs, command lines parse, YAML is read."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnxruntime')
pytest.importorskip('rosbags')

from sample import read_sample

from depthface_ros import FaceEstimator
from depthface_ros.cli import _parser as depthface_parser
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.parameter_file import read_parameter_file
from depthface_ros.tracking.tracks import TrackerConfig

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md'))]
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```', re.DOTALL | re.MULTILINE)
PLACEHOLDERS = re.compile(r'\b(FILE|FOLDER|DIR|REPOSITORY|ICT_FOLDER|HAIR_FOLDER|RECORDING)\b')


def blocks(language: str) -> list[tuple[Path, str]]:
    return [(page, text) for page in PAGES for found, text in BLOCK.findall(page.read_text())
            if found == language]


def commands() -> list[list[str]]:
    """Return the command lines of all shell examples, without comments, redirections and pipes."""
    lines = []
    for _, text in blocks('bash'):
        for line in text.replace('\\\n', ' ').splitlines():
            if '$(' in line or line.rstrip().endswith("'"):
                continue  # shell programs, as of a job array
            words = shlex.split(line, comments=True)
            if words:
                lines.append(words)
    return lines


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope='module')
def names() -> dict:
    """Return the names that the examples assume: image, camera, stamp, estimator, faces."""
    sample = read_sample(ROOT / 'demo' / 'sample.mcap')
    stamp, depth = next(iter(sample.depths.items()))
    camera, estimator = sample.intrinsics, FaceEstimator('cpu')
    faces = estimator(depth, camera)
    assert faces
    return {'depth': depth, 'stamp_ns': stamp, 'fx': camera.fx, 'fy': camera.fy, 'cx': camera.cx,
            'cy': camera.cy, 'estimator': estimator, 'faces': faces, 'np': np,
            'adapted_models': MODELS_FOLDER}


PYTHON_PAGES = sorted({page for page, _ in blocks('python')})


@pytest.mark.parametrize('page', PYTHON_PAGES, ids=page_name)
def test_python_examples_of_a_page_run_in_order(page, names, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(ROOT)
    known = dict(names)
    for number, text in enumerate(text for other, text in blocks('python') if other == page):
        if 'import ray' in text:
            pytest.importorskip('ray')
        file = tmp_path / f'{page.stem}_{number}.py'
        file.write_text(text)
        known |= runpy.run_path(str(file), known)


def test_readme_and_docs_have_examples():
    assert ROOT / 'README.md' in PYTHON_PAGES and len(PYTHON_PAGES) >= 4
    assert len(commands()) > 30


def parse(parser, arguments: list[str]) -> None:
    try:
        parser.parse_args(arguments)
    except SystemExit as error:
        assert error.code == 0, arguments


@pytest.mark.parametrize('words', [words[1:] for words in commands() if words[0] == 'depthface'],
                         ids=' '.join)
def test_depthface_command_lines_parse(words):
    parse(depthface_parser(), words)


TRAINING = [words[words.index('training') + 1:] for words in commands()
            if 'training' in words and words[words.index('training') - 1] == '-m']


@pytest.mark.parametrize('words', TRAINING, ids=' '.join)
def test_training_command_lines_parse(words):
    pytest.importorskip('torch')
    pytest.importorskip('scipy')
    import argparse
    import importlib

    from training.__main__ import COMMANDS
    parser = argparse.ArgumentParser()
    importlib.import_module(COMMANDS[words[0]][0]).add_arguments(parser)
    parse(parser, words[1:])


@pytest.mark.parametrize('words', [words for words in commands() if words[0] == 'make'],
                         ids=' '.join)
def test_make_has_the_targets_of_the_examples(words):
    makefile = (ROOT / 'Makefile').read_text()
    assert all(re.search(rf'^{word}:', makefile, re.MULTILINE) for word in words[1:])


@pytest.mark.parametrize('words', [words for words in commands() if words[:1] == ['python']
                                   and words[1].endswith('.py')], ids=' '.join)
def test_scripts_of_the_examples_have_the_options(words):
    text = (ROOT / words[1]).read_text()
    assert all(f"'{word}'" in text for word in words[2:] if word.startswith('--'))


LAUNCHES = [words for words in commands() if words[:3] == ['ros2', 'launch', 'depthface_ros']]


@pytest.mark.parametrize('words', LAUNCHES, ids=' '.join)
def test_launch_examples_use_arguments_that_exist(words):
    launch = ROOT / 'launch'
    text = (launch / words[3]).read_text() + (launch / 'depthface.launch.py').read_text()
    for word in words[4:]:
        name, assigned, _ = word.partition(':=')
        assert not assigned or f"'{name}'" in text, word


@pytest.mark.parametrize('page, text', blocks('yaml'), ids=lambda value: getattr(
    value, 'stem', ''))
def test_parameter_files_of_the_examples_are_read(page, text, tmp_path):
    file = tmp_path / 'example.yaml'
    file.write_text(text)
    read_parameter_file(file, estimator=EstimatorConfig(), tracker=TrackerConfig())
