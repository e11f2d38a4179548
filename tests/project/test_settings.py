# SPDX-License-Identifier: Apache-2.0
"""Parameter files of the node are read without ROS, and mistakes in them are told."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip('ruamel.yaml')

from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.settings import read_parameter_file
from depthface_ros.tracking.smoothing import SmoothingConfig
from depthface_ros.tracking.tracks import TrackerConfig

SHIPPED = Path(__file__).parents[2] / 'config' / 'depthface.yaml'


def read(file):
    return read_parameter_file(file, estimator=EstimatorConfig(), tracker=TrackerConfig())


def test_the_file_that_ships_holds_the_defaults():
    assert read(SHIPPED) == {'estimator': EstimatorConfig(), 'tracker': TrackerConfig()}


def test_what_a_file_says_counts_and_the_rest_stays(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text("""
/**:
  ros__parameters:
    use_sim_time: true
    tracker: {search_s: 1, smoothing: {enabled: false}}
/head/depthface:
  ros__parameters:
    estimator.min_confidence: 0.65
    tracker: {sightings: 5}
""")
    assert read(file) == {
        'estimator': replace(EstimatorConfig(), min_confidence=0.65),
        'tracker': TrackerConfig(search_s=1.0, sightings=5,
                                 smoothing=SmoothingConfig(enabled=False))}


@pytest.mark.parametrize('text, message', [
    ('tracker: {sihgtings: 5}', 'there is no parameter tracker.sihgtings'),
    ('tracker: {sightings: 0.5}', 'tracker.sightings is 0.5: expected int'),
    ('tracker: {sightings: 0}', 'tracker.sightings is 0: expected 1 to 100'),
    ('tracker: {smoothing: {enabled: 1}}', 'tracker.smoothing.enabled is 1: expected bool'),
    ('estimator: {min_confidence: .nan}', 'min_confidence is nan: expected 0.0 to 1.0'),
    ('- 5', 'is no parameter file')])
def test_mistakes_are_told(tmp_path, text, message):
    file = tmp_path / 'mine.yaml'
    file.write_text(f'depthface:\n  ros__parameters:\n    {text}\n')
    with pytest.raises(ValueError, match=message):
        read(file)


@pytest.mark.parametrize('text', ['', '5', 'a: 5', 'a: {b: 5}', '{', 'a: {ros__parameters: 3}'])
def test_what_is_no_parameter_file_is_refused(tmp_path, text):
    file = tmp_path / 'mine.yaml'
    file.write_text(text)
    with pytest.raises(ValueError, match='is no parameter file: expected NODE'):
        read(file)
