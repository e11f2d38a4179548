# SPDX-License-Identifier: Apache-2.0
"""Random scenes: labels agree with the rendering, people do not overlap, views share one geometry."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.crop import HEAD_CENTRE_FACE
from training.evaluation import frames
from training.synthesis.random_rotations import axis_rotation, random_rotation
from training.synthesis.scene.cameras import VALIDATION_CAMERAS, sample_camera
from training.synthesis.scene.occluders import sample_occluder
from training.synthesis.scene.random_scene import (
    BACKGROUND,
    Head,
    build_scene,
    facing_pose,
    sample_pose,
    sample_scene,
)
from training.synthesis.scene.solids import box, cylinder, ellipsoid
from training.synthesis.scene.views import render_frame, render_window

KINECT = VALIDATION_CAMERAS[0]


class Sitter(NamedTuple):
    """Return the shipped face on an egg for a skull, with a cap for hair and a ball for a body."""

    head_vertices: np.ndarray
    head_triangles: np.ndarray
    hair_start: int
    body_vertices: np.ndarray
    body_triangles: np.ndarray
    face_vertices: np.ndarray
    expression: np.ndarray = np.zeros(52)


class Sitters:
    def sample(self, rng):
        model = FaceModel.load()
        face = model.template * rng.uniform(0.95, 1.05, 3).astype(np.float32)
        skull = ellipsoid((0.075, 0.06, 0.09), 24, 16) + [-0.1, 0, 0]
        cap = skull[skull[:, :, 2].min(1) > 0.03] * [1, 1.1, 1.1]
        extra = np.concatenate([skull, cap]).astype(np.float32)
        triangles = [model.triangles,
                     len(face) + np.arange(3 * len(extra), dtype=np.int32).reshape(-1, 3)]
        body = ellipsoid((0.1, 0.2, 0.2), 16, 8) + np.float32([-0.1, 0, -0.4])
        return Sitter(np.concatenate([face, extra.reshape(-1, 3)]), np.concatenate(triangles),
                      len(model.triangles) + len(skull), body.reshape(-1, 3),
                      np.arange(3 * len(body)).reshape(-1, 3), face)


def one_head(pose, person=None, background=(), camera=KINECT):
    person = person or Sitters().sample(np.random.default_rng(0))
    return build_scene(camera, [Head(pose, person)], background)


def visible_labels(head):
    """Return the middles of the label triangles that face the camera within 60 degrees: (N, 3)."""
    triangles = head.vertices_camera[FaceModel.load().triangles]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    centres = triangles.mean(1)
    cosine = -(normals * centres).sum(1) / np.linalg.norm(normals, axis=1) / np.linalg.norm(
        centres, axis=1)
    return centres[cosine > 0.5]


@pytest.mark.parametrize('distance', [0.5, 1.2])
def test_rendered_depth_agrees_with_the_labels(distance):
    for angles in ((0, 0, 0), (0.6, -0.3, 0.2), (-0.9, 0.4, 1.5)):
        scene = one_head(facing_pose(np.array([0.1, -0.05, 1]) * distance, *angles))
        head = scene.heads[0]
        points = visible_labels(head)
        for view in (render_frame(scene), render_window(scene, head.centre_camera)):
            x, y, z = points.T
            u, v = view.fx * x / z + view.cx, view.fy * y / z + view.cy
            rendered = view.depth[np.round(v).astype(int), np.round(u).astype(int)].numpy()
            # the nose and the body cover some; else half a pixel off, on slopes up to 60 degrees
            free = rendered > z - 0.004
            assert free.mean() > 0.85
            assert np.median(np.abs(rendered - z)) < 0.0007
            assert np.mean(np.abs(rendered - z)[free] < 0.004) > 0.98


def test_angles_are_those_of_the_face_seen_from_the_camera():
    centre = np.array([0.0, 0.0, 1.0])
    out_of_face = facing_pose(centre, 0, 0, 0)[:3, 0]
    np.testing.assert_allclose(out_of_face, [0, 0, -1], atol=1e-6)
    to_its_left = facing_pose(centre, 0.5, 0, 0)[:3, 0]  # its left is the image's right
    assert to_its_left[0] > 0.4 and abs(to_its_left[1]) < 1e-6
    downwards = facing_pose(centre, 0, 0.5, 0)[:3, 0]
    assert downwards[1] > 0.4 and abs(downwards[0]) < 1e-6
    np.testing.assert_allclose(facing_pose(centre, 0, 0, 0)[:3, 2], [0, -1, 0], atol=1e-6)
    for direction in ([0.4, 0.3, 1.0], [-0.5, 0.1, 0.8]):
        pose = facing_pose(direction, 0, 0, 0)
        np.testing.assert_allclose(pose[:3, 0], -np.array(direction) / np.linalg.norm(direction),
                                   atol=1e-6)
        np.testing.assert_allclose(pose[:3, :3] @ HEAD_CENTRE_FACE + pose[:3, 3], direction,
                                   atol=1e-6)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1, abs=1e-5)


def test_coarse_frame_holds_every_stride_th_pixel():
    room = [box((0.5, 0.3, 0.2)) @ axis_rotation('xyz', (0.3, 0.5, 0.1)).T + [0.3, 0, 1.5]]
    scene = one_head(facing_pose(np.array([0, 0, 1.0]), 0.3, 0, 0), background=room)
    full, coarse = render_frame(scene), render_frame(scene, 4, (120, 160))
    expected = full.depth[2::4, 2::4]
    same = (coarse.depth - expected).abs() < 1e-4
    assert same.float().mean() > 0.997  # outlines may fall either way
    assert (coarse.pixel_scale, coarse.fx_native) == (4, full.fx)
    assert (coarse.depth > 0).any() and coarse.hair.any()


def test_window_shows_the_same_surface_as_the_frame():
    centre = np.array([0.25, -0.1, 0.9])
    scene = one_head(facing_pose(centre, 0.4, 0.1, 0.2))
    window, frame = render_window(scene, centre), render_frame(scene)
    v, u = np.nonzero(window.depth.numpy())
    z = window.depth[v, u].numpy()
    x, y = (u - window.cx) / window.fx * z, (v - window.cy) / window.fy * z
    u, v = frame.fx * x / z + frame.cx, frame.fy * y / z + frame.cy
    again = frame.depth[np.round(v).astype(int), np.round(u).astype(int)].numpy()
    assert np.median(np.abs(again - z)) < 0.0007
    assert window.pixel_scale == pytest.approx(0.45 * KINECT.fx / (0.9 * 160))


def test_window_ends_where_the_sensor_does():
    centre = np.array([-0.5, 0.0, 0.9])  # projects to the left edge of the image
    wall = [box((6, 6, 0.1)) + [0, 0, 2.0]]
    scene = one_head(facing_pose(centre, 0, 0, 0), background=wall)
    window = render_window(scene, centre)
    u = (np.arange(160) - window.cx) * window.pixel_scale + KINECT.cx
    assert np.array_equal((window.depth > 0).numpy().all(0), u > -0.5)
    assert not (window.depth[:, u < -0.5] > 0).any() and (u < -0.5).any()


def test_visibility_excludes_covered_parts():
    pose = facing_pose(np.array([0, 0, 1.0]), 0, 0, 0)
    free = render_window(one_head(pose), [0, 0, 1.0])
    assert free.face_visible[0] > 0.9 and free.head_visible[0] > 0.6
    half = [box((1, 1, 0.01)) + [0.5, 0, 0.6]]  # covers all to the right of the nose
    covered = render_window(one_head(pose, background=half), [0, 0, 1.0])
    assert covered.face_visible[0] == pytest.approx(free.face_visible[0] / 2, abs=0.05)
    all_of_it = [box((1, 1, 0.01)) + [0, 0, 0.6]]
    hidden = render_window(one_head(pose, background=all_of_it), [0, 0, 1.0])
    assert hidden.face_visible[0] == 0 and hidden.head_visible[0] == 0
    behind = render_window(one_head(facing_pose(np.array([0, 0, 1.0]), np.pi, 0, 0)), [0, 0, 1.0])
    assert behind.face_visible[0] < 0.3 and behind.head_visible[0] > 0.6


def test_random_scenes_are_sound():
    rng = np.random.default_rng(0)
    counts, yaws, seen = [], [], []
    for _ in range(70):
        camera = sample_camera(rng)
        scene = sample_scene(rng, Sitters(), camera)
        counts.append(len(scene.heads))
        if not scene.heads:
            continue
        assert len(scene.triangles_camera) == len(scene.material) == len(scene.head_index)
        assert np.isfinite(scene.triangles_camera).all()
        first = scene.heads[0]
        x, y, z = first.centre_camera
        assert 0.2 < z < camera.sensor.max_range
        assert 0 < camera.fx * x / z + camera.cx < camera.width
        assert 0 < camera.fy * y / z + camera.cy < camera.height
        centres = np.array([head.centre_camera for head in scene.heads])
        gaps = np.linalg.norm(centres[:, None] - centres, axis=-1) + 9 * np.eye(len(centres))
        assert gaps.min() > 0.2
        for head in scene.heads:
            rotation = head.camera_from_face[:3, :3]
            np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
        yaws.append(-first.camera_from_face[:3, 0] @ first.centre_camera / np.linalg.norm(
            first.centre_camera))
        seen.append(render_frame(scene, 4).head_visible[0])
    assert {0, 1, 2, 3} == set(counts)
    assert np.mean(np.array(yaws) > 0) > 0.8  # most faces face the camera
    assert np.mean(np.array(seen) > 0.2) > 0.85  # walls and people rarely hide them


def test_scene_without_people():
    scene = sample_scene(np.random.default_rng(3), Sitters(), KINECT, heads=0)
    view = render_frame(scene, 4)
    assert scene.heads == () and view.face_visible.shape == (0,)
    assert set(np.unique(scene.material)) <= {BACKGROUND}


def test_things_held_touch_no_head():
    """Before every head point that a thing covers, the thing is nearer on the same ray."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(40):
        pose = facing_pose(np.array([0, 0, rng.uniform(0.5, 2)]), rng.uniform(-1.5, 1.5), 0, 0)
        alone = one_head(pose, Sitters().sample(rng))
        head = alone.heads[0]
        triangles = alone.triangles_camera[alone.head_index == 0]
        points = np.concatenate([triangles.reshape(-1, 3), triangles.mean(1)])
        thing = sample_occluder(rng, rng.choice(head.vertices_camera), points)
        if not len(thing):
            continue
        window = render_window(alone, head.centre_camera)
        held = render_window(build_scene(KINECT, [], [thing]), head.centre_camera)
        both = (window.depth > 0) & (held.depth > 0)
        covered += int(both.sum()) > 0
        poking = held.depth[both] > window.depth[both] + 0.005
        assert poking.sum() <= 0.02 * both.sum()
    assert covered > 25


def test_rooms_without_people_hold_things_within_reach():
    rng = np.random.default_rng(1)
    scenes = [sample_scene(rng, None, KINECT, heads=0) for _ in range(30)]
    with_things = 0
    for scene in scenes:
        depth = render_frame(scene, 4).depth.numpy()
        steps = np.abs(np.diff(depth, axis=1))[(depth[:, 1:] > 0) & (depth[:, :-1] > 0)]
        with_things += (steps > 0.1).sum() > 20  # outlines of things before a wall
    assert with_things > 15


def test_heads_lean_away_from_a_low_camera():
    for yaw in (0, 80, -80, 170):
        rng = np.random.default_rng(0)
        lean = [sample_pose(rng, KINECT, 1.0, 40, 0, yaw=yaw)[2, 2] for _ in range(50)]
        assert np.median(lean) > 0.3


def test_same_seed_same_scene():
    first, second = (sample_scene(np.random.default_rng(7), Sitters(), KINECT) for _ in range(2))
    np.testing.assert_array_equal(first.triangles_camera, second.triangles_camera)


@pytest.mark.parametrize('solid, volume', [
    (box((0.1, 0.2, 0.3)), 0.006), (ellipsoid((0.1, 0.2, 0.3), 64, 32), 4 / 3 * np.pi * 0.006),
    (cylinder(0.1, 0.5, 64), np.pi * 0.005)])
def test_solids_are_closed_and_face_outwards(solid, volume):
    """The divergence theorem gives a closed, outward mesh its volume, wherever it stands."""
    for shift in (0, 3):
        a, b, c = (solid.astype(float) + shift).transpose(1, 0, 2)
        assert (a * np.cross(b, c)).sum() / 6 == pytest.approx(volume, rel=0.01)


def test_rotations():
    np.testing.assert_allclose(axis_rotation('z', [np.pi / 2]) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(axis_rotation('zx', [np.pi / 2, np.pi / 2]) @ [0, 1, 0], [0, 0, 1],
                               atol=1e-12)
    turn = random_rotation(np.random.default_rng(0))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)


def test_a_perfect_camera_measures_the_same_scene_as_one_with_noise(monkeypatch):
    monkeypatch.setattr(frames, 'people_factory', lambda *_: Sitters())
    _, view, perfect = frames.SyntheticFrames(perfect_camera=True)[3]
    _, same, noisy = frames.SyntheticFrames()[3]
    truth = view.depth.numpy() * 1000
    assert np.array_equal(view.depth, same.depth)
    assert np.abs(perfect - truth).max() <= 0.51  # mm, by rounding
    assert (noisy == 0).sum() > (perfect == 0).sum()
    assert np.abs(noisy - truth)[noisy > 0].mean() > 1
