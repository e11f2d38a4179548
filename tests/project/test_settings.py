# SPDX-License-Identifier: Apache-2.0
"""Parameter files of the node are read without ROS, and mistakes in them are reported."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip('ruamel.yaml')

from depthface_ros.estimation.estimator import EstimatorConfig, FaceEstimator
from depthface_ros.parameter_file import applies, read_parameter_file
from depthface_ros.settings import leaves
from depthface_ros.tracking.smoothing import SmoothingConfig
from depthface_ros.tracking.tracks import TrackerConfig

SHIPPED = Path(__file__).parents[2] / 'config' / 'depthface.yaml'


def read(file):
    return read_parameter_file(file, estimator=EstimatorConfig(), tracker=TrackerConfig())


def test_the_file_that_ships_holds_the_defaults():
    assert read(SHIPPED) == {'estimator': EstimatorConfig(), 'tracker': TrackerConfig()}


def test_values_of_a_file_replace_defaults_and_the_rest_stays(tmp_path):
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


@pytest.mark.parametrize('text', [
    'estimator: {keep_confidence: 0.3}', 'estimator.keep_confidence: 0.3',
    'estimator: {keep_confidence: 0.2, track_keep_confidence: 0.3}',
    'estimator: {track_keep_confidence: 0.3, keep_confidence: 0.2}'])
def test_old_names_are_accepted_with_a_warning_and_current_ones_win(tmp_path, caplog, text):
    file = tmp_path / 'old.yaml'
    file.write_text(f'/**:\n  ros__parameters:\n    {text}\n')
    assert read(file)['estimator'] == replace(EstimatorConfig(), track_keep_confidence=0.3)
    assert 'estimator.keep_confidence is called estimator.track_keep_confidence' in caplog.text


@pytest.mark.parametrize('text', ['estimator: {finder: {max_heads: 3}}', 'estimator.finder.max_heads: 3'])
def test_old_names_of_groups_are_accepted_with_a_warning(tmp_path, caplog, text):
    file = tmp_path / 'old.yaml'
    file.write_text(f'/**:\n  ros__parameters:\n    {text}\n')
    assert read(file)['estimator'].detector.max_heads == 3
    assert 'estimator.finder.max_heads is called estimator.detector.max_heads' in caplog.text


@pytest.mark.parametrize('name', ['shape_iterations', 'shape_looks'])
def test_removed_settings_are_accepted_with_a_warning(tmp_path, caplog, name):
    file = tmp_path / 'old.yaml'
    file.write_text(f'/**:\n  ros__parameters:\n    estimator: {{{name}: 2, min_confidence: 0.7}}\n')
    assert read(file)['estimator'] == replace(EstimatorConfig(), min_confidence=0.7)
    assert f'estimator.{name} has no effect any more' in caplog.text


@pytest.mark.parametrize('text, message', [
    ('tracker: {sihgtings: 5}', 'there is no parameter tracker.sihgtings'),
    ('tracker: {sightings: 0.5}', 'tracker.sightings is 0.5: expected int'),
    ('tracker: {sightings: 0}', 'tracker.sightings is 0: expected 1 to 100'),
    ('tracker: {smoothing: {enabled: 1}}', 'tracker.smoothing.enabled is 1: expected bool'),
    ('estimator: {min_confidence: .nan}', 'min_confidence is nan: expected 0.0 to 1.0'),
    ('- 5', 'is no parameter file')])
def test_mistakes_are_reported(tmp_path, text, message):
    file = tmp_path / 'mine.yaml'
    file.write_text(f'depthface:\n  ros__parameters:\n    {text}\n')
    with pytest.raises(ValueError, match=message):
        read(file)


@pytest.mark.parametrize('text', ['', '5', 'a: 5', 'a: {b: 5}', '{', 'a: {ros__parameters: 3}'])
def test_other_files_than_parameter_files_are_refused(tmp_path, text):
    file = tmp_path / 'mine.yaml'
    file.write_text(text)
    with pytest.raises(ValueError, match='is no parameter file: expected NODE'):
        read(file)


ROBOT = """
camera:
  ros__parameters: {tracker: {sightings: 50}, estimator: {exposure: 3}}
%s:
  ros__parameters: {tracker: {sightings: 7}}
planner: {ros__parameters: }
"""


@pytest.mark.parametrize('name', ['depthface', '/depthface', '/front/depthface', '/**', '/*',
                                  '/**/depthface', 'front/depthface'])
def test_parameters_of_other_nodes_in_the_file_of_a_robot_do_not_count(tmp_path, name):
    file = tmp_path / 'robot.yaml'
    file.write_text(ROBOT % name)
    assert read(file) == {'estimator': EstimatorConfig(), 'tracker': TrackerConfig(sightings=7)}


def test_the_only_section_of_a_file_counts_whatever_its_name(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text('robot:\n  faces:\n    ros__parameters: {tracker: {sightings: 7}}\n')
    assert read(file)['tracker'] == TrackerConfig(sightings=7)


def test_a_file_for_other_nodes_only_is_refused_with_their_names(tmp_path):
    file = tmp_path / 'robot.yaml'
    file.write_text(ROBOT % 'faces')
    with pytest.raises(ValueError, match='holds parameters of /camera, /faces, /planner: expected '
                       'a section for the node depthface'):
        read(file)


@pytest.mark.parametrize('pattern, node, expected', [
    ('/**', '/depthface', True), ('/**', '/a/b/depthface', True), ('/*', '/depthface', True),
    ('/*', '/a/depthface', False), ('/*/depthface', '/a/depthface', True),
    ('/**/depthface', '/depthface', True), ('depthface', '/depthface', True),
    ('depthface', '/a/depthface', False), ('/depth.ace', '/depthface', False)])
def test_sections_apply_to_nodes_as_ros_reads_them(pattern, node, expected):
    assert applies(pattern, node) is expected


def test_settings_of_the_estimator_that_its_constructor_reads_are_read_at_configure(monkeypatch):
    """A later change of such a setting would have no effect, so the node has to refuse it."""
    pytest.importorskip('onnxruntime')
    read = set()

    def get(config, name):
        read.add(name)
        return object.__getattribute__(config, name)
    config = EstimatorConfig()
    with monkeypatch.context() as patch:
        patch.setattr(EstimatorConfig, '__getattribute__', get)
        FaceEstimator('cpu', config)
    marked = {name.split('.')[0] for name, _, metadata in leaves(config)
              if metadata['read_at'] == 'configure'}
    assert read & {name.split('.')[0] for name, *_ in leaves(config)} == marked
