# SPDX-License-Identifier: Apache-2.0
"""Rendered streams: the truth agrees with the images, and one seed gives one stream."""
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('torch')

from depthface_ros.face_model.mesh import FaceModel
from training.__main__ import main
from training.synthesis.people import person as people_module
from training.synthesis.people.person import PeopleFactory, Person
from training.synthesis.scene.cameras import VALIDATION_CAMERAS
from training.synthesis.scene.solids import ellipsoid
from training.synthesis.sensors import Sensor
from training.synthesis.streams.motion import REST_S, Actor, talking, turning, weights
from training.synthesis.streams.render import Play, render_stream
from training.synthesis.streams.scripts import CAMERAS, SCRIPTS, Stage
from training.synthesis.streams.sensor_stream import SensorStream
from training.synthesis.streams.stream import load_streams

CAMERA = VALIDATION_CAMERAS[0]._replace(width=320, height=240, fx=290., fy=290., cx=159.1, cy=121.)
PERFECT = CAMERA._replace(sensor=Sensor(depth_unit=0.0001, max_range=6.))


class Arm:
    """Stands in for Arms: a palm and a forearm along -z."""

    def sample(self, rng):
        return ellipsoid((0.02, 0.05, 0.3), 12, 8) - np.float32([0, 0, 0.25])


class Busts:
    """Stands in for a PeopleFactory: the template in a random size, opening its mouth downwards."""

    arms = Arm()

    def sample(self, rng, expression, torso_turn):
        model = FaceModel.load()
        face = model.template * rng.uniform(0.95, 1.05, 3).astype(np.float32)
        body = ellipsoid((0.1, 0.2, 0.2), 16, 8) + np.float32([-0.1, 0, -0.4])
        return Person(face, model.triangles, len(model.triangles), body.reshape(-1, 3),
                    np.arange(3 * len(body)).reshape(-1, 3), face, expression, 'bust', 0)


@pytest.fixture(scope='module')
def factory():
    try:
        file = next(people_module.CACHE.glob('anny-*/validation.npy'))
    except StopIteration:
        pytest.skip(f'no people in {people_module.CACHE}: the first training run bakes them')
    assert file.stat().st_size
    return PeopleFactory('validation')


def talker(people, seed=5, distance=0.8):
    rng = np.random.default_rng(seed)
    return Actor(people, seed, lambda seconds: np.array([0.05, 0.1, distance]),
                 turning(rng, (0.6, 0.2, 0.2)), talking(rng))


def rendered(people, camera=CAMERA, seed=1, **options):
    return render_stream('one', 'talk', Play([talker(people)], **{'seconds': 2.0} | options),
                         camera, rate=5.0, distance=0.8, seed=seed)


def off_truth(stream, i):
    """Differences, m, between the measured depth and the true vertices that face the camera."""
    vertices = stream.vertices_camera(i, 0)
    triangles = vertices[FaceModel.load().triangles]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    centres = triangles.mean(1)
    cosine = -(normals * centres).sum(1) / (np.linalg.norm(normals, axis=1)
                                            * np.linalg.norm(centres, axis=1))
    x, y, z = centres[cosine > 0.7].T
    u, v = np.round(stream.intrinsics.project(x / z, y / z)).astype(int)
    return stream.depth[i, v, u] * stream.depth_unit - z


@pytest.mark.parametrize('real_people', [False, True])
def test_truth_lies_on_the_measured_surface_in_every_image(real_people, request):
    people = request.getfixturevalue('factory') if real_people else Busts()
    stream = rendered(people, PERFECT)
    for i in range(len(stream)):
        # hair, glasses and the nose cover some of it
        assert np.quantile(np.abs(off_truth(stream, i)), 0.5) < 0.002
    assert stream.visible.min() > 0.5


def test_people_rest_and_then_move_and_stay_who_they_are(factory):
    stream = rendered(factory)
    resting = stream.seconds < REST_S
    assert np.ptp(stream.poses[resting], axis=0).max() == 0
    turned = stream.poses[:, 0, :3, 0] @ stream.poses[0, 0, :3, 0]
    assert np.degrees(np.arccos(turned.clip(-1, 1))).max() > 5
    assert np.ptp(stream.expressions[:, 0, :], axis=0).max() > 0.3
    actor = talker(factory)
    still = [replace(actor, expression=lambda seconds: weights(jawOpen=0.3)).at(seconds).person
             for seconds in (0.0, 1.5)]
    np.testing.assert_array_equal(still[0].face_vertices, still[1].face_vertices)
    assert still[0].identity == still[1].identity
    assert len(still[0].head_triangles) == len(still[1].head_triangles)  # hair and glasses
    other = talker(factory, seed=6).at(0).person
    assert other.face_vertices.shape and not np.array_equal(other.face_vertices,
                                                            still[0].face_vertices)


def test_one_seed_gives_one_stream_which_survives_the_disk(tmp_path):
    stream, again, other = (rendered(Busts(), seed=seed, seconds=0.6) for seed in (1, 1, 2))
    np.testing.assert_array_equal(stream.depth, again.depth)
    assert (stream.depth != other.depth).any()
    stream.save(tmp_path)
    loaded, = load_streams(tmp_path)
    for name, value in vars(stream).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)


def test_a_folder_without_streams_is_reported(tmp_path):
    with pytest.raises(ValueError, match='there is no stream'):
        next(load_streams(tmp_path))


def test_a_part_of_the_errors_stays_and_the_rest_is_new():
    from training.synthesis.scene.random_scene import build_scene
    from training.synthesis.scene.solids import quad
    from training.synthesis.scene.views import render_frame

    wall = quad(6.0, 6.0) @ np.diag([1, -1, -1]) + np.array([0, 0, 1.0])
    sensor = SensorStream(CAMERA._replace(sensor=Sensor(noise_base=0.003, depth_unit=1e-5)), 0)
    view = render_frame(build_scene(CAMERA, (), [wall]))
    noise = [(sensor(view) * 1e-5 - 1)[5:-5, 5:-5].ravel() for _ in range(2)]
    assert np.std(noise) == pytest.approx(0.003, rel=0.05)
    assert np.corrcoef(noise)[0, 1] == pytest.approx(0.4, abs=0.03)


def test_precise_cameras_deliver_metres_and_others_millimetres():
    stream = rendered(Busts(), PERFECT, seconds=0.2)
    assert stream.image(0).dtype == np.float32
    assert np.median(stream.image(0)[stream.image(0) > 0]) > 0.5
    assert rendered(Busts(), seconds=0.2).image(0).dtype == np.uint16


def test_the_command_tracks_the_streams_of_a_folder(tmp_path, capsys):
    stream = rendered(Busts(), CAMERA._replace(width=640, height=480, fx=580., fy=580., cx=319.,
                                               cy=240.), seconds=1.6)
    replace(stream, name='talk-00').save(tmp_path / 'streams')
    out = tmp_path / 'streams.json'
    assert main(['evaluate', '--streams', '--scripts', 'talk', '--streams-per-script', '1',
                 '--streams-folder', str(tmp_path / 'streams'), '--workers', '1',
                 '--out', str(out)]) == 0
    row = json.loads(out.read_text())['groups']['script']['talk']
    assert row['streams'] == 1 and row['missed_percent'][0] == 0
    assert row['rotation_deg'][0] < 5 and row['sellion_mm'][0] < 10
    assert 'talk, 0.8 m' in capsys.readouterr().out


def played(script, number=1):
    """The play of a script, and its actors' faces (times, actors, 3) and coefficients over time."""
    play, distances = SCRIPTS[script]
    stage = Stage(np.random.default_rng(number), Busts(), CAMERAS[number], distances[number % len(
        distances)])
    acted = play(stage)
    heads = [[actor.at(seconds) for actor in acted.actors]
             for seconds in np.arange(0, acted.seconds, 0.1)]
    faces = np.array([[head.camera_from_face[:3, 3] for head in row] for row in heads])
    return acted, stage, faces, np.array([[head.person.expression for head in row]
                                          for row in heads])


@pytest.mark.parametrize('script', SCRIPTS)
@pytest.mark.parametrize('number', [0, 3])
def test_scripts_do_what_their_names_say(script, number):
    play, stage, faces, expressions = played(script, number)
    moved = np.linalg.norm(np.diff(faces, axis=0), axis=-1)
    assert moved.max() < 0.35  # m in 0.1 s
    assert expressions.min() >= 0 and expressions.max() <= 1
    if script in ('rest', 'turn', 'talk', 'far', 'smile', 'grimace'):
        assert moved[:9].max() < 1e-6 and (script == 'rest') == (moved[10:].max() < 1e-6)
        assert faces[0, 0, 2] == pytest.approx(stage.distance, abs=0.12)
    if script == 'walk':
        assert sorted(faces[[0, -1], 0, 2])[1] == pytest.approx(3, abs=0.12)
        assert sorted(faces[[0, -1], 0, 2])[0] < 0.8
    if script == 'leave':
        x, _, z = faces[:, 0].T
        out = np.abs(x / z) > 0.5 * stage.camera.width / stage.camera.fx
        assert not out[0] and out[24] and not out[-1]
    if script == 'cross':
        sides = np.sign(faces[..., 0] / faces[..., 2] - faces[0].mean(0)[0])
        assert (sides[0] != sides[-1]).all() and (faces[..., 0].prod(1) < 0.01).all()
        assert np.ptp(faces[..., 1] / faces[..., 2], axis=1).max() < 0.25  # at one height
    if script == 'swap':
        assert np.linalg.norm(faces[-1, 1] - faces[0, 0]) < 0.15
        assert np.abs(faces[:, 1, 0] - faces[:, 0, 0]).min() > 0.4  # never in one place
    if script == 'hand':
        nearest = [np.linalg.norm(play.things(0.1 * i)[0] - face, axis=-1).min()
                   for i, (face,) in enumerate(faces)]
        assert min(nearest[14:20]) < 0.25 and nearest[0] > nearest[17]
        assert play.things(1.7)[0][..., 2].max() < faces[17, 0, 2] + 0.05  # before the face
    if script in ('talk', 'smile', 'grimace'):
        assert np.ptp(expressions[:, 0], axis=0).max() > 0.3
