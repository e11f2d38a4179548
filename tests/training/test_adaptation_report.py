# SPDX-License-Identifier: Apache-2.0
"""The report of an adaptation says what changed, and warns of what got worse."""
from __future__ import annotations

import json
import math

import pytest

pytest.importorskip('torch')
pytest.importorskip('rosbags')

from training.adapt.report import DOWN, INFORMATION, UP, Row, write_report


@pytest.mark.parametrize('before, after, better, worse', [
    (3.0, 3.2, DOWN, True), (3.0, 2.8, DOWN, False), (3.0, 3.01, DOWN, False),
    (50, 40, UP, True), (50, 60, UP, False), (1.0, 9.0, INFORMATION, False),
    (3.0, math.nan, DOWN, True), (math.nan, 3.0, DOWN, False), (0.0, 0.1, DOWN, True), (0.0, 0.0, DOWN, False)])
def test_a_figure_is_worse_in_its_own_direction_and_beyond_noise(before, after, better, worse):
    assert Row('recording', 'x', before, after, better).worse is worse


def test_a_worse_figure_is_named_in_both_files(tmp_path):
    rows = [Row('marked landmarks', 'landmark_mm_mean', 3.01, 3.17, DOWN),
            Row('recording, whole pipeline', 'mirror_deg_median', 0.34, 0.30, DOWN)]
    verdict = write_report(tmp_path, rows, {'steps': 300})
    assert verdict.startswith('WARNING') and '3.01 -> 3.17' in verdict and 'mirror' not in verdict
    page = (tmp_path / 'report.md').read_text()
    assert verdict in page and 'steps: 300' in page
    assert '| recording, whole pipeline | mirror deg median | 0.34 | 0.3 | better |' in page
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['worse'] == ['marked landmarks: landmark_mm_mean'] and len(report['rows']) == 2
    assert write_report(tmp_path, rows[1:], {}) == 'Nothing got worse.'
