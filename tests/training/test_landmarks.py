# SPDX-License-Identifier: Apache-2.0
"""Errors against marked points equal the simulated ones, without a constant offset."""
from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip('torch')

from test_evaluate_real import CAMERA, MODEL, biwi_pose, face_of, options

from depthface_ros.io.frame import Frame
from training.adapt.datasets import Labelled, open_dataset
from training.evaluation import evaluate
from training.evaluation.comparison import badness
from training.evaluation.landmarks import (
    LANDMARKS,
    estimated,
    landmark_figures,
    landmark_records,
    landmark_table,
)
from training.evaluation.people_as_streams import as_streams

NAMES = tuple(LANDMARKS)
MM = 1000 * (0.95 - 0.08) / CAMERA.fx  # across the ray, of a pixel: faces lie before head centres


class Recording:
    """Marked images of people, and an estimator whose faces lie where the points were marked."""

    face_model = MODEL

    def __init__(self, images=24, people=4):
        rng = np.random.default_rng(0)
        self.faces = [face_of(biwi_pose(*rng.uniform(-15, 15, 3), (*rng.uniform(-0.05, 0.05, 2), 0.95)))
                      for _ in range(images)]
        self.people = [str(i % people) for i in range(images)]
        self.found = [True] * images

    def __call__(self, depth, intrinsics):
        i = int(depth[0, 0]) - 900
        return [self.faces[i]] if self.found[i] else []

    def marked(self, change=lambda i, points: points):
        for i, face in enumerate(self.faces):
            points = self.face_model.landmarks(face.vertices)
            points = np.array([points[list(indices)].mean(0) for indices in LANDMARKS.values()])
            pixels = np.stack(CAMERA.project(*(points[:, :2] / points[:, 2:]).T), axis=1)
            depth = np.full((256, 256), 900 + i, np.uint16)
            yield Labelled(Frame(i, depth, CAMERA, f'{i:02d}'), self.people[i],
                           landmarks=dict(zip(NAMES, change(i, pixels))))


def figures_of(recording, change):
    records, both = landmark_records(recording.marked(change), recording)
    return landmark_figures(records, both, 'kinect2-crops')['groups']['range']['all']


def test_an_offset_that_all_faces_share_is_no_error():
    row = figures_of(Recording(), lambda i, points: points + np.array([3., -2.]))
    assert row['landmark_mm_mean'][0] == pytest.approx(0, abs=0.1)  # depths differ, so millimetres do
    assert row['mouth_width_slope'][0] == pytest.approx(1, abs=0.05)
    assert row['missed_percent'][0] == 0


def test_offsets_that_differ_are_errors_across_the_ray():
    row = figures_of(Recording(), lambda i, points: points + np.array([2. if i % 2 else -2., 0]))
    assert row['landmark_mm_mean'][0] == pytest.approx(2 * MM, rel=0.05)


def test_mouths_that_are_predicted_shut_have_a_slope_of_nought():
    rng = np.random.default_rng(1)
    recording = Recording()
    upper, lower = (NAMES.index(name) for name in ('upper lip, upper edge', 'lower lip, lower edge'))
    opening = rng.uniform(0, 20, len(recording.faces))  # px more than predicted

    def opened(i, points):
        lip = (points[lower] - points[upper]) / np.linalg.norm(points[lower] - points[upper])
        points = points.copy()
        points[lower] += opening[i] * lip
        return points

    row = figures_of(recording, opened)
    assert abs(row['mouth_opening_slope'][0]) < 0.1  # the predicted mouths never open
    assert row['mouth_opening_slope'][1] < 0.1
    assert row['landmark_mm_mean'][0] > 0.3
    assert badness('all / mouth_opening_slope', 0.3) > badness('all / mouth_opening_slope', 1.1)


def test_images_without_a_face_are_misses_and_the_table_shows_all_points():
    recording = Recording()
    recording.found[::4] = [False] * 6
    records, both = landmark_records(recording.marked(), recording)
    figures = landmark_figures(records, both, 'kinect2-crops')
    assert figures['groups']['range']['all']['missed_percent'][0] == 25
    assert landmark_table(figures).row_count == len(figures['groups']['range']['all']) + len(NAMES)
    recording.found = [False] * 24
    records, both = landmark_records(recording.marked(), recording)
    assert landmark_figures(records, both, 'k')['groups']['range']['all']['missed_percent'][0] == 100


def test_a_point_of_another_name_is_refused():
    recording = Recording(1)
    each = next(recording.marked())
    each.landmarks['third eye'] = np.zeros(2)
    with pytest.raises(ValueError, match="'third eye'.*expected some of.*nose tip"):
        landmark_records([each], recording)


@pytest.fixture
def crops(tmp_path):
    depth = np.full((3, 40, 60), 1500, np.uint16)
    np.savez(tmp_path / 'frames.npz', depth_mm=depth, size_hw=[[40, 60]] * 3, session=[0, 0, 1])
    np.savez(tmp_path / 'landmarks.npz', landmarks_xy=np.arange(30).reshape(3, 5, 2),
             names=NAMES[:5])
    return tmp_path


def test_crops_bear_the_points_that_were_marked_in_them(crops):
    first, *_, last = open_dataset('kinect2-crops', crops)
    assert (first.person, last.person) == ('0', '1') and tuple(first.landmarks) == NAMES[:5]
    np.testing.assert_array_equal(last.landmarks[NAMES[4]], [28, 29])
    (crops / 'landmarks.npz').unlink()
    assert all(each.landmarks is None for each in open_dataset('kinect2-crops', crops))


def test_points_for_other_images_are_refused(crops):
    np.savez(crops / 'landmarks.npz', landmarks_xy=np.zeros((2, 5, 2)), names=NAMES[:5])
    with pytest.raises(ValueError, match=r'landmarks\.npz: expected .*\(3, P, 2\), found \(2, 5, 2\)'):
        open_dataset('kinect2-crops', crops)


def test_the_command_counts_misses_of_one_person_and_of_marked_crops(crops):
    for kind in ('kinect2-crops', 'one-person'):
        out = crops / f'{kind}.json'
        folder = crops if kind == 'kinect2-crops' else crops / 'frames.npz'
        if kind == 'one-person':
            np.savez(folder, depth_mm=np.full((2, 40, 60), 1500, np.uint16), K=[60., 60, 30, 20])
        assert evaluate.run(options(dataset=kind, folder=folder, out=out)) == 0
        assert json.loads(out.read_text())['groups']['range']['all']['missed_percent'][0] == 100


def test_widths_that_differ_between_people_alone_are_no_changes():
    """Mouths of each person are marked wider by another factor; expressions are as predicted."""
    corners = [NAMES.index(name) for name in ('right mouth corner', 'left mouth corner')]
    recording = Recording()

    def widened(i, points):
        points, middle = points.copy(), points[corners].mean(0)
        points[corners] = middle + (1 + 0.1 * int(recording.people[i])) * (points[corners] - middle)
        return points

    row = figures_of(recording, widened)
    assert row['mouth_width_slope'][0] < 0.5
    assert row['mouth_width_change_correlation'][0] > 0.95


def test_images_of_people_are_filtered_as_streams_in_the_pose_of_each_image():
    recording = Recording()
    recording.found[3] = False
    pairs = list(estimated(recording.marked(), recording))
    streams = as_streams(pairs)
    assert [each.frame.name for each, _ in streams] == [each.frame.name for each, _ in pairs]
    assert not streams[3][1]
    for (_, single), (_, tracked) in zip(pairs, streams):
        for before, after in zip(single, tracked):
            np.testing.assert_array_equal(after.camera_from_face, before.camera_from_face)
            # One rigid face is seen in all images, so nothing but rounding changes.
            np.testing.assert_allclose(after.vertices, before.vertices, atol=1e-4)
