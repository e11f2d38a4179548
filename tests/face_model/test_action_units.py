# SPDX-License-Identifier: Apache-2.0
"""Expression coefficients become action units of the Facial Action Coding System."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from depthface_ros.face_model.action_units import ACTION_UNITS, CODES, action_units
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, mirrored_name


def expression(**coefficients: float) -> np.ndarray:
    return np.array([coefficients.get(name, 0.0) for name in EXPRESSION_NAMES], np.float32)


@pytest.mark.parametrize('name, coefficient', [
    ('LIP_CORNER_PULLER', 'mouthSmileLeft'), ('JAW_DROP', 'jawOpen'),
    ('INNER_BROW_RAISER', 'browInnerUp'), ('BROW_LOWERER', 'browDownRight'),
    ('BLINK', 'eyeBlinkLeft'), ('LIP_FUNNELER', 'mouthFunnel'), ('CHEEK_PUFF', 'cheekPuff'),
    ('NOSE_WRINKLER', 'noseSneerRight'), ('LIP_SUCK', 'mouthRollUpper'),
    ('CHIN_RAISER', 'mouthShrugLower'), ('JAW_SIDEWAYS', 'jawLeft'),
    ('LIP_CORNER_DEPRESSOR', 'mouthFrownLeft'), ('UPPER_LID_RAISER', 'eyeWideRight')])
def test_a_movement_gets_the_code_that_ros4hri_names(name, coefficient):
    messages = pytest.importorskip('hri_msgs.msg')
    intensity = action_units(expression(**{coefficient: 0.75}))
    assert intensity[getattr(messages.FacialActionUnits, name)] == pytest.approx(0.75)
    assert np.nansum(intensity) == pytest.approx(0.75)  # no other one


def test_the_stronger_side_counts():
    intensity = action_units(expression(mouthSmileLeft=0.2, mouthSmileRight=0.7, eyeBlinkLeft=1.0))
    assert intensity[12] == pytest.approx(0.7) and intensity[45] == 1.0


def test_codes_without_a_coefficient_differ_from_those_at_rest():
    intensity = action_units(expression())
    assert intensity.shape == (CODES,) and intensity.dtype == np.float32
    estimated = np.flatnonzero(np.isfinite(intensity))
    assert set(estimated) == set(ACTION_UNITS) and not intensity[estimated].any()


def test_both_sides_of_a_movement_share_a_code_and_no_coefficient_has_two():
    names = [name for group in ACTION_UNITS.values() for name in group]
    assert len(names) == len(set(names))
    for group in ACTION_UNITS.values():
        assert {mirrored_name(name) for name in group} == set(group)
    left_out = set(EXPRESSION_NAMES) - set(names)
    assert all(name.startswith('eyeLook') or name in ('mouthLeft', 'mouthRight')
               for name in left_out)


def test_the_documentation_has_the_same_table():
    text = (Path(__file__).resolve().parents[2] / 'docs' / 'guide' / 'ros4hri.md').read_text()
    rows = re.findall(r'^\| (\d+) \| [^|]+ \| ([^|]+) \|$', text, flags=re.MULTILINE)
    assert {int(code): tuple(re.findall('`(.+?)`', names)) for code, names in rows} == ACTION_UNITS
