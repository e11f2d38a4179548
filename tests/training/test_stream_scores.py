# SPDX-License-Identifier: Apache-2.0
"""Scores of tracks through streams, on tracks made by hand."""
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('torch')

from depthface_ros import Intrinsics
from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel
from depthface_ros.geometry.rotations import rotation_from_vector
from depthface_ros.tracking.tracks import Track
from training.evaluation import stream_runs
from training.evaluation.comparison import changes
from training.evaluation.stream_figures import coverage, explained_variance, stream_figures
from training.evaluation.stream_runs import compare
from training.evaluation.stream_scores import (
    FIRST_S,
    id_switches,
    scores,
    taken_ids,
)
from training.synthesis.scene.random_scene import facing_pose
from training.synthesis.streams.stream import Stream

MODEL = FaceModel.load()
RATE = 30.0
COUNT = 90
SECONDS = np.arange(COUNT) / RATE
JAW = EXPRESSION_NAMES.index('jawOpen')


@pytest.fixture(autouse=True)
def few_surfaces(monkeypatch):
    monkeypatch.setattr(stream_runs, 'SURFACE_EVERY', 30)


def swinging_poses(phase=0.0, x=0.0):
    """A head at 1 m that rests for a second, then swings by 0.5 rad."""
    angle = np.where(SECONDS < 1, 0, 0.5 * np.sin(4 * (SECONDS - 1 + phase)))
    return np.array([facing_pose(np.array([x, 0, 1.0]), yaw, 0, 0) for yaw in angle])


def stream_of(*poses, visible=None):
    poses = np.stack(poses, axis=1).astype(np.float32)
    count, people = poses.shape[:2]
    expressions = np.zeros((count, people, 52), np.float32)
    expressions[:, :, JAW] = (0.5 + 0.4 * np.sin(6 * SECONDS[:count]))[:, None]
    return Stream('s', 'talk', 'camera', 'time_of_flight', RATE, 1.0,
                  Intrinsics(500., 500., 319.5, 239.5), 0.001,
                  np.round(SECONDS[:count] * 1e9).astype(np.int64), np.zeros((count, 2, 2)), poses,
                  np.broadcast_to(MODEL.template, (count, people, *MODEL.template.shape)),
                  expressions, np.ones((count, people)) if visible is None else visible,
                  np.arange(people))


def track(pose, name='f00001', expression=None, std=0.01):
    pose = np.asarray(pose, np.float32)
    vertices = MODEL.template @ pose[:3, :3].T + pose[:3, 3]
    return Track(name, Face(pose, vertices, np.zeros(52) if expression is None else expression,
                            0.9, std, std), 0, 2)


def turned(pose, vector):
    result = np.array(pose, float)
    result[:3, :3] = rotation_from_vector(np.asarray(vector, float)) @ result[:3, :3]
    return result


def one(stream, tracks):
    run = compare(stream, tracks)
    return scores(run.people[0]), run


def test_a_perfect_track_has_no_errors():
    stream = stream_of(swinging_poses())
    score, run = one(stream, [[track(stream.poses[i, 0], expression=stream.expressions[i, 0])]
                              for i in range(COUNT)])
    assert run.false_faces == 0
    for name in ('missed_percent', 'id_s', 'id_switches', 'rotation_deg', 'sellion_mm',
                 'surface_mm', 'face_surface_mm', 'rigid_mm', 'jitter_deg', 'step_mm', 'lag_ms'):
        assert score[name] == pytest.approx(0, abs=0.05), name
    assert score['expression_correlation'] == pytest.approx(1)


def test_a_constant_error_is_accuracy_and_not_jitter():
    stream = stream_of(swinging_poses())
    tracks = []
    for i in range(COUNT):
        pose = turned(stream.poses[i, 0], [0, np.radians(2), 0])
        pose[:3, 3] += [0, 0, 0.004]
        tracks.append([track(pose)])
    score, run = one(stream, tracks)
    assert score['rotation_deg'] == pytest.approx(2, abs=0.01)
    assert score['sellion_mm at 1 s'] == pytest.approx(4, abs=0.01)
    assert score['rotation_deg last'] == pytest.approx(2, abs=0.01)
    assert score['jitter_deg'] < 0.01 and score['step_mm'] < 0.01
    assert score['surface_mm'] > 1 and score['rigid_mm'] < 0.01
    # about the image's vertical, z of the face: 2 degrees are 3.5 sigmas, 4 mm are 0.4
    within = {axis: [row[f'within_{k}_sigma'][0] for k in (1, 2)]
              for axis, row in coverage(run.people).items()}
    assert within['turn_z'] == [0, 0]
    assert within['turn_y'] == within['radial'] == [100, 100]


def test_jitter_is_that_of_the_time_at_rest():
    stream, rng = stream_of(swinging_poses()), np.random.default_rng(0)
    tracks = []
    for i in range(COUNT):
        pose = turned(stream.poses[i, 0], rng.normal(0, 0.01, 3))
        pose[:3, 3] += rng.normal(0, 0.002, 3)
        tracks.append([track(pose)])
    score, _ = one(stream, tracks)
    assert score['jitter_deg'] == pytest.approx(np.degrees(0.01) * 3 ** 0.5, rel=0.4)
    assert score['jitter_mm'] == pytest.approx(2 * 3 ** 0.5, rel=0.4)
    assert score['step_mm'] == pytest.approx(2 * 6 ** 0.5, rel=0.4)


@pytest.mark.parametrize('lag_s', [0.0, 0.05])
def test_lag_is_the_delay_of_a_swing(lag_s):
    stream, late = stream_of(swinging_poses()), swinging_poses(phase=-lag_s)
    score, _ = one(stream, [[track(late[i])] for i in range(COUNT)])
    assert score['lag_ms'] == pytest.approx(1000 * lag_s, abs=5)


def test_missed_images_and_the_time_to_an_id():
    visible = np.ones((COUNT, 1))
    visible[:15] = 0  # half a second later than the stream
    stream = stream_of(swinging_poses(), visible=visible)
    tracks = [[track(stream.poses[i, 0])] if i >= 18 and i != 40 else [] for i in range(COUNT)]
    score, _ = one(stream, tracks)
    assert score['id_s'] == pytest.approx(3 / RATE)
    asked = COUNT - 15 - round(FIRST_S * RATE)
    assert score['missed_percent'] == pytest.approx(100 / asked)


def test_each_arrival_counts_for_the_time_to_an_id_and_so_do_visits_without_one():
    visible = np.ones((COUNT, 1))
    visible[30:45], visible[60:75] = 0, 0
    stream = stream_of(swinging_poses(), visible=visible)
    score, _ = one(stream, [[track(stream.poses[i, 0])] if 3 <= i < 30 or 51 <= i < 60 else []
                            for i in range(COUNT)])
    assert score['id_s'] == pytest.approx(np.mean([3, 6, 14]) / RATE)


def test_ids_that_change_and_ids_that_go_to_another_person():
    always = np.ones(6, bool)
    assert id_switches(np.array(['', 'a', 'a', '', 'a', 'a'], object), always) == 0
    assert id_switches(np.array(['', 'a', 'b', '', 'a', 'a'], object), always) == 2
    out = np.array([1, 1, 0, 0, 1, 1], bool)
    assert id_switches(np.array(['', 'a', '', '', 'b', 'b'], object), out) == 0
    stream = stream_of(swinging_poses(x=-0.3), swinging_poses(x=0.3))
    tracks = [[track(stream.poses[i, int(i > 40)], 'f1'), track(stream.poses[i, int(i <= 40)], 'f2')]
              for i in range(COUNT)]
    assert taken_ids(compare(stream, tracks).people) == 2
    kept = [[track(stream.poses[i, 0], 'f1'), track(stream.poses[i, 1], 'f2')]
            for i in range(COUNT)]
    assert taken_ids(compare(stream, kept).people) == 0


def test_a_track_without_a_person_counts_as_false():
    stream = stream_of(swinging_poses())
    elsewhere = facing_pose(np.array([0.5, 0, 1.0]), 0, 0, 0)
    _, run = one(stream, [[track(stream.poses[i, 0]), track(elsewhere, 'f2')]
                          for i in range(COUNT)])
    assert run.false_faces == COUNT


def test_explained_variance_is_zero_for_the_mean_of_the_prior():
    stream, prior = stream_of(swinging_poses()), np.full(52, 0.5)
    half = compare(stream, [[track(pose[0], expression=0.5 * (prior + expression[0]))]
                            for pose, expression in zip(stream.poses, stream.expressions)])
    assert explained_variance(half.people, prior) == {'jawOpen': pytest.approx(0.75)}
    constant = compare(stream, [[track(pose[0], expression=prior)] for pose in stream.poses])
    assert explained_variance(constant.people, prior)['jawOpen'] == pytest.approx(0)


def test_expressive_people_within_a_metre_count_by_camera():
    def run(script, camera, distance):
        stream = replace(stream_of(swinging_poses()), script=script, camera=camera, distance=distance)
        return compare(stream, [[track(pose[0], expression=expression[0])]
                                for pose, expression in zip(stream.poses, stream.expressions)])

    figures = stream_figures([run('smile', 'one', 0.6), run('grimace', 'two', 0.9), run('smile', 'three', 1.2),
                              run('rest', 'four', 0.6)])
    assert figures['expressive_people'] == 2
    assert figures['explained_variance_of_cameras'] == {
        camera: {'jawOpen': pytest.approx(1)} for camera in ('one', 'two')}


def test_groups_have_means_and_standard_errors_over_streams():
    def run(shift_m, distance):
        stream = replace(stream_of(swinging_poses()), distance=distance)
        return compare(stream, [[track(pose[0] + [[0, 0, 0, shift_m], *np.zeros((3, 4))])]
                                for pose in stream.poses])

    figures = stream_figures([run(0.002, 0.6), run(0.004, 0.6), run(0.009, 2.5)])
    near = figures['groups']['talk']['talk, 0.6 m']
    assert near['streams'] == 2 and near['sellion_mm'] == pytest.approx([3, 1], abs=0.01)
    assert figures['groups']['distance']['2-3 m']['sellion_mm'][0] == pytest.approx(9, abs=0.01)
    assert figures['groups']['all']['all']['sellion_mm'][0] == pytest.approx(5, abs=0.01)
    assert figures['coverage']['lateral_x']['within_1_sigma'][0] == pytest.approx(100)
    worse = stream_figures([run(0.02, 0.6), run(0.022, 0.6), run(0.025, 2.5)])
    found = {change.name: change.worse for change in changes(figures, worse)}
    assert found['groups / all / all / sellion_mm last']
