# SPDX-License-Identifier: Apache-2.0
"""`depthface check` names what works, what is broken, and the reasons."""
from __future__ import annotations

import shutil
import sys

import pytest

pytest.importorskip('onnxruntime')

from depthface_ros import compiled
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.ros.startup_log import describe_models
from depthface_ros.tools.check import check_report


@pytest.mark.parametrize('card, text', [
    ('{', 'its card head_pose.json is broken: JSONDecodeError'),
    ('[]', 'its card head_pose.json is broken: TypeError'),
    ('{"sha256": "0"}', '(NOT the file of its card head_pose.json)')])
def test_broken_and_foreign_cards_of_networks_are_named(tmp_path, card, text):
    for file in MODELS_FOLDER.glob('*.onnx'):
        shutil.copy(file, tmp_path)
    (tmp_path / 'head_pose.json').write_text(card)
    assert text.strip('()') in describe_models(str(tmp_path))
    lines, works = check_report(str(tmp_path))
    assert works
    line, = (line for line in lines if line.startswith('  head_pose.onnx'))
    assert text in line


def test_the_report_states_whether_engines_can_be_built_for_other_machines(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    monkeypatch.setitem(sys.modules, 'tensorrt_rtx', None)
    assert any(line.startswith('engines for other machines: no: TensorRT does not load: ')
               for line in check_report()[0])


@pytest.mark.parametrize('why_not, text', [('', 'compiled by Numba'),
                                           ('No module named numba', 'pip install -U numba')])
def test_the_report_says_whether_loops_are_compiled(monkeypatch, why_not, text):
    if why_not:
        monkeypatch.setattr(compiled, 'AVAILABLE', False)
        monkeypatch.setattr(compiled, 'WHY_NOT', why_not)
    elif not compiled.AVAILABLE:
        pytest.skip(compiled.WHY_NOT)
    line, = (line for line in check_report()[0] if line.startswith('  loops'))
    assert text in line and why_not in line


def test_the_report_lists_the_gpus_of_tensorrt_for_rtx():
    pytest.importorskip('tensorrt_rtx', reason='no TensorRT for RTX for this platform')
    line, = (line for line in check_report()[0] if line.startswith('engines for other machines'))
    assert 'TensorRT for RTX' in line and 'sm89,sm120' in line
