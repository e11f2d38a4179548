# SPDX-License-Identifier: Apache-2.0
"""Errors and their summaries, on faces whose errors are known."""
import json
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from scipy.spatial.transform import Rotation

from depthface_ros.estimation.covariance import pose_covariance, ray_axes
from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from training.evaluation.comparison import changes
from training.evaluation.errors import (
    AXIS_ERRORS,
    describe,
    errors,
    expression_errors,
    inner_face,
    mesh_errors,
    pose_errors,
    reported_uncertainty,
)
from training.evaluation.evaluate import read_figures, write_records
from training.evaluation.figures import all_figures, better_than_mean, expression, within_sigma
from training.evaluation.frames import match, measured_fraction
from training.evaluation.groups import between, in_core, summary
from training.evaluation.tables import write_markdown
from training.synthesis.scene.cameras import VALIDATION_CAMERAS
from training.synthesis.scene.random_scene import Head, build_scene, facing_pose
from training.synthesis.scene.views import render_frame

MODEL = FaceModel.load()
TEMPLATE = MODEL.template
CENTRE = np.array([0.1, -0.05, 0.9])
SCENE = SimpleNamespace(camera=VALIDATION_CAMERAS[0])


def person():
    return SimpleNamespace(
        face_vertices=TEMPLATE, expression=np.full(52, 0.5, np.float32), generator='anny',
        identity=7, head_vertices=TEMPLATE, head_triangles=MODEL.triangles,
        hair_start=len(MODEL.triangles), body_vertices=np.zeros((3, 3), np.float32),
        body_triangles=np.zeros((0, 3), np.int32))


def head(yaw=0., pitch=0., roll=0., centre=CENTRE):
    return Head(facing_pose(np.array(centre), *np.radians([yaw, pitch, roll])), person())


def estimate(truth, rotation=np.eye(3), shift=(0., 0., 0.), confidence=0.9):
    """Return a face with a rotation error about its origin and a shift in the camera frame, metres."""
    pose = truth.camera_from_face.astype(np.float64)
    pose[:3, :3] = pose[:3, :3] @ rotation
    pose[:3, 3] += shift
    return Face(pose, TEMPLATE @ pose[:3, :3].T + pose[:3, 3], truth.person.expression + 0.1, confidence,
                rotation_std=0.02, position_std=0.003)


def record(rng, rotation=0.02, position=0.003, found=True):
    """Draw the record of a face with errors of the predicted sigmas, or of other ones."""
    truth = head(*rng.uniform(-40, 40, 2), 0, (0.1, 0, rng.uniform(0.5, 1.4)))
    turn = Rotation.from_rotvec(rng.normal(0, rotation, 3)).as_matrix()
    face = estimate(truth, turn, rng.normal(0, position, 3))
    mesh = {name: mm * rng.uniform(0.5, 1.5) for name, mm in mesh_errors_of_5_mm().items()}
    words = pose_errors(face.camera_from_face, truth.camera_from_face) | reported_uncertainty(face) | mesh
    words |= expression_errors(face.expression, truth.person.expression)
    return ({'real': True, 'found': found, 'measured': 0.9} | describe(SCENE, truth, 1.0, 1.0)
            | (words if found else {}))


@cache
def mesh_errors_of_5_mm():
    truth = head()
    return mesh_errors(truth.vertices_camera + np.float32([0.005, 0, 0]), truth.vertices_camera)


def test_a_shift_counts_for_the_mesh_and_not_after_alignment():
    truth = head(20, 10, -5)
    found = errors(estimate(truth, shift=(0.003, 0, -0.004)), truth)
    for name in ('sellion_mm', 'mesh_mm', 'face_mm'):
        assert found[name] == pytest.approx(5, abs=1e-3)
    for name in ('mesh_aligned_mm', 'face_aligned_mm', 'mesh_surface_aligned_mm', 'geodesic_deg'):
        assert found[name] == pytest.approx(0, abs=1e-3)
    assert 0.5 < found['mesh_surface_mm'] < 5
    assert found['expression'] == pytest.approx(0.1, abs=1e-6)
    components = np.array([found[name] for name in ('lateral_x_mm', 'lateral_y_mm', 'radial_mm')])
    sellion = truth.camera_from_face[:3, 3] + (0.003, 0, -0.004)
    np.testing.assert_allclose(ray_axes(sellion) @ components, [3, 0, -4], atol=1e-3)


def test_an_error_of_distance_is_radial_and_has_the_radial_sigma():
    truth = head(centre=(0.5, 0.3, 0.9))
    ray = truth.camera_from_face[:3, 3] / np.linalg.norm(truth.camera_from_face[:3, 3])
    face = estimate(truth, shift=0.004 * ray)
    face = replace(face, pose_covariance=pose_covariance(
        face.camera_from_face, np.array([0.001, 0.001, 0.008, 0.01, 0.02, 0.03])))
    found = pose_errors(face.camera_from_face, truth.camera_from_face) | reported_uncertainty(face)
    np.testing.assert_allclose([found[name] for name in AXIS_ERRORS[:3]], [0, 0, 4], atol=1e-3)
    np.testing.assert_allclose([found[f'{name}_std'] for name in AXIS_ERRORS],
                               [1, 1, 8, *np.degrees([0.01, 0.02, 0.03])], rtol=1e-6)


def test_a_rotation_counts_in_degrees_about_any_axis():
    truth = head(-40, 5, 20)
    axis = np.array([1.0, 2.0, -2.0]) / 3
    found = errors(estimate(truth, Rotation.from_rotvec(np.radians(7) * axis).as_matrix()), truth)
    assert found['geodesic_deg'] == pytest.approx(7, abs=1e-3)
    np.testing.assert_allclose([found[f'turn_{axis}_deg'] for axis in 'xyz'], 7 * axis, atol=1e-3)
    assert found['sellion_mm'] == pytest.approx(0, abs=1e-3)
    assert found['mesh_aligned_mm'] == pytest.approx(0, abs=1e-3)
    assert found['mesh_mm'] > 5


def test_a_nod_of_a_frontal_face_is_one_angle_of_three():
    truth = head(centre=(0, 0, 1))
    found = errors(estimate(truth, Rotation.from_euler('y', 6, degrees=True).as_matrix()), truth)
    assert found['mae_pyr_deg'] == pytest.approx(2, abs=1e-3)
    assert found['mae_ypr_deg'] == pytest.approx(2, abs=1e-3)


def test_sliding_along_the_surface_is_no_surface_error():
    """A flat face that slides within its plane stays on it."""
    truth = head()
    flat = TEMPLATE * [0, 1, 1]
    truth.person.face_vertices = flat.astype(np.float32)
    shift = truth.camera_from_face[:3, 1] * 0.004
    slid = estimate(truth, shift=shift)
    object.__setattr__(slid, 'vertices', truth.vertices_camera + shift)
    found = errors(slid, truth)
    assert found['face_mm'] == pytest.approx(4, abs=1e-3)
    assert found['face_surface_mm'] < 0.2


def test_a_larger_face_is_not_scaled_away():
    truth = head()
    larger = estimate(truth)
    origin = larger.camera_from_face[:3, 3]
    object.__setattr__(larger, 'vertices', (larger.vertices - origin) * 1.1 + origin)
    assert errors(larger, truth)['mesh_aligned_mm'] > 4


def test_the_inner_face_has_no_ears_and_is_symmetric():
    inner = inner_face()
    assert not np.isin(inner, MODEL.regions['ears']).any()
    assert set(MODEL.mirror[inner]) == set(inner)
    assert np.isin(MODEL.regions['nose'], inner).all() and np.isin(MODEL.regions['mouth'], inner).all()


@pytest.mark.parametrize('angles', [(0, 0, 0), (35, 0, 0), (-50, 20, 0), (10, -30, 40)])
def test_angles_count_from_the_viewing_ray(angles):
    seen = describe(SCENE, head(*angles), 1.0, 1.0)
    np.testing.assert_allclose((seen['yaw_deg'], seen['pitch_deg'], seen['roll_deg']), angles, atol=1e-3)
    assert seen['in_view'] > 0.9


def test_only_measured_faces_in_the_image_count():
    truth = {'real': True, 'found': False}
    seen = describe(SCENE, head(), 1.0, 1.0) | truth
    aside = describe(SCENE, head(centre=(0.9, 0, 0.9)), 1.0, 1.0) | truth
    assert in_core(seen | {'measured': 0.9})
    assert not in_core(aside | {'measured': 0.9})
    assert not in_core(seen | {'measured': 0.0})


def test_the_measured_fraction_excludes_missing_depth():
    camera = VALIDATION_CAMERAS[0]
    truth = head()
    view = render_frame(build_scene(camera, (truth,), []))
    depth = (1000 * view.depth.numpy()).round().astype(np.uint16)
    assert measured_fraction(view, depth, truth) == 1
    left = depth.copy()
    left[:, round(camera.cx + camera.fx * CENTRE[0] / CENTRE[2]):] = 0
    assert 0.3 < measured_fraction(view, left, truth) < 0.7
    assert measured_fraction(view, 0 * depth, truth) == 0


def test_two_heads_do_not_share_a_face():
    left, right = head(centre=(0, 0, 1)), head(centre=(0.09, 0, 1))
    assert match([estimate(right, shift=(-0.03, 0, 0))], [left, right]) == {1: 0}
    both = match([estimate(right), estimate(left)], [left, right])
    assert both == {0: 1, 1: 0}
    assert match([estimate(left, shift=(0, 0, 0.2))], [left, right]) == {}


def test_misses_count():
    rng = np.random.default_rng(0)
    row = summary([record(rng), record(rng, found=False), record(rng, found=False), record(rng)])
    assert row['faces'] == 4 and row['missed_percent'][0] == 50


def test_errors_of_the_predicted_size_have_the_coverage_of_normal_ones():
    rng = np.random.default_rng(1)
    found = [record(rng) for _ in range(150)]
    for shares in within_sigma(found).values():
        for aim, (value, error) in zip((68.3, 95.4), shares.values()):
            assert abs(value - aim) < 4 * error
    bold = within_sigma([record(rng, rotation=0.06) for _ in range(50)])
    assert bold['turn_y']['within_1_sigma'][0] < 50


def test_correlation_separates_coefficients_that_follow_the_truth():
    rng = np.random.default_rng(2)
    moves = rng.uniform(0, 1, (300, 52))
    rows = expression([
        {f'true_{name}': true[i] for i, name in enumerate(MODEL.expression_names)}
        | {name: 0.8 * true[i] + 0.1 if name == 'jawOpen' else rng.uniform()
           for i, name in enumerate(MODEL.expression_names)} for true in moves])
    assert rows['jawOpen']['correlation'][0] > 0.99
    assert rows['jawOpen']['error'][0] < rows['jawOpen']['guess_error'][0] / 2
    assert abs(rows['tongueOut']['correlation'][0]) < 0.25


def test_explained_variance_names_coefficients_that_err_less_than_the_mean_of_the_truth():
    rng = np.random.default_rng(5)
    records = []
    for distance in rng.uniform(0.4, 3, 600):
        true = rng.uniform(0, 1, 52)
        guess = np.where(MODEL.expression_names.index('jawOpen') == np.arange(52),
                         true + 0.1 * distance * rng.normal(), 0.5 + 0.01 * rng.normal(size=52))
        records.append({'distance_m': distance} | {
            name: guess[i] for i, name in enumerate(MODEL.expression_names)} | {
            f'true_{name}': true[i] for i, name in enumerate(MODEL.expression_names)})
    rows = expression(records)
    assert better_than_mean(rows) == ['jawOpen']
    near, overall = (rows['jawOpen'][f'explained_percent{part}'] for part in ('_near', ''))
    assert overall[0] + 2 * overall[1] < near[0] < 100
    assert near[0] == pytest.approx(100 * (1 - 12 * 0.01 * 0.53), abs=4 * near[1])


@pytest.mark.parametrize('value, label', [(0, '0-20 deg'), (20, '20-50 deg'), (50, '20-50 deg')])
def test_bins_take_in_their_lower_edge_and_the_last_one_both(value, label):
    assert between(value, (0, 20, 50), 'deg') == label


def test_an_evaluation_is_compared_with_what_it_wrote(tmp_path):
    rng = np.random.default_rng(3)
    records = [record(rng) for _ in range(60)] + [{'real': False, 'found': True, 'distance_m': 0.7}]
    figures = all_figures(records, 50)
    assert figures['distances']['0.5-1 m']['false_per_100_frames'][0] == 2
    file = tmp_path / 'figures.json'
    file.write_text(json.dumps(figures))
    assert changes(read_figures(file), figures) == []

    others = all_figures([record(rng) for _ in range(60)], 50)
    assert not [change for change in changes(figures, others) if 'geodesic' in change.name]
    worse = all_figures([record(rng, rotation=0.06) for _ in range(60)], 50)
    turned = [change for change in changes(figures, worse) if 'core' in change.name
              and 'geodesic_deg_median' in change.name]
    assert len(turned) == 1 and turned[0].worse and turned[0].now > turned[0].before
    assert not [change for change in changes(worse, figures) if change.name == turned[0].name][0].worse


def test_tables_can_go_into_a_page(tmp_path):
    rng = np.random.default_rng(6)
    write_markdown(all_figures([record(rng) for _ in range(30)], 20), tmp_path / 'tables.md')
    lines = (tmp_path / 'tables.md').read_text().splitlines()
    heading, rule, first = [[cell.strip() for cell in line.split('|')] for line in lines if line.startswith('|')][:3]
    assert heading[1:3] == ['group', 'faces'] and set(''.join(rule)) <= set('-:') and first[1:3] == ['all', '30']
    assert len(heading) == len(rule) == len(first)


def test_a_file_of_something_else_is_refused(tmp_path):
    file = tmp_path / 'other.json'
    file.write_text('{"network": "head_pose"}')
    with pytest.raises(ValueError, match='does not hold figures'):
        read_figures(file)


def test_records_have_a_row_per_face(tmp_path):
    rng = np.random.default_rng(4)
    write_records([record(rng), record(rng, found=False), {'real': False, 'found': True}], tmp_path / 'faces.csv')
    lines = (tmp_path / 'faces.csv').read_text().splitlines()
    assert len(lines) == 4 and 'geodesic_deg' in lines[0] and 'true_jawOpen' in lines[0]


def test_plots_are_drawn(tmp_path):
    pytest.importorskip('matplotlib')
    from training.evaluation import plots
    rng = np.random.default_rng(5)
    records = [record(rng) for _ in range(30)] + [record(rng, found=False)]
    for name in ('cumulative', 'errors_by', 'reliability', 'confidence', 'expression'):
        found = [each for each in records if each['found']]
        figure = getattr(plots, f'draw_{name}')(found if name in ('reliability', 'expression') else records)
        figure.savefig(tmp_path / f'{name}.png', dpi=20)
        plots.plt.close(figure)
        assert (tmp_path / f'{name}.png').stat().st_size > 1000
