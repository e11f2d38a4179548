# SPDX-License-Identifier: Apache-2.0
"""Synthetic people: registration, hair, necks, and labels on the visible surface."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

ConvexHull = pytest.importorskip('scipy.spatial').ConvexHull

from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel
from training.assets.correspondence import register, similarity
from training.synthesis import meshes
from training.synthesis.meshes import vertex_normals
from training.synthesis.people import person as people
from training.synthesis.people.anny_people import FACE_MODEL, face_frame
from training.synthesis.people.expressions import random_expression
from training.synthesis.people.grooming import SKULL, cover, grow
from training.synthesis.people.hair import HairStyle
from training.synthesis.people.torso import neck_blend, turn_torso
from training.synthesis.people.wear import sample_glasses
from training.synthesis.random_rotations import random_rotation
from training.synthesis.surface_points import closest_points


@pytest.fixture(scope='module')
def model() -> FaceModel:
    return FaceModel.load()


def sphere(size=600):
    """Return a closed mesh of the unit sphere: the convex hull of points spread along a spiral."""
    steps = np.arange(0.5, size)
    z, turn = 1 - 2 * steps / size, np.pi * (1 + 5 ** 0.5) * steps
    radius = np.sqrt(1 - z * z)
    points = np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)
    triangles = ConvexHull(points).simplices
    inwards = (meshes.triangle_normals(points, triangles) * points[triangles[:, 0]]).sum(1) < 0
    triangles[inwards] = triangles[inwards, ::-1]
    return points, triangles


@pytest.mark.parametrize('seed', range(5))
def test_procrustes_recovers_a_similarity(seed):
    rng = np.random.default_rng(seed)
    points, rotation, shift = rng.normal(size=(50, 3)), random_rotation(rng), rng.normal(size=3)
    scale, found, translation = similarity(points, 1.7 * points @ rotation.T + shift)
    assert scale == pytest.approx(1.7)
    assert np.allclose(found, rotation) and np.allclose(translation, shift)


@pytest.mark.parametrize('seed', range(3))
def test_face_frame_of_a_moved_template_undoes_the_motion(model, seed):
    rng = np.random.default_rng(seed)
    rotation, shift = random_rotation(rng), rng.normal(size=3)
    moved = model.template @ rotation.T + shift
    found, translation = face_frame(moved, model)
    assert np.allclose(found @ rotation, np.eye(3), atol=1e-5)
    assert np.allclose(moved @ found.T + translation, model.template, atol=1e-5)


def test_closest_points_on_a_triangle_by_hand():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]])
    queries = np.array([[0.25, 0.25, 2], [-1, -1, 0], [1, 1, 0], [0.5, -3, 0]])
    found = closest_points(queries, vertices, np.array([[0, 1, 2]]))
    expected = [[0.25, 0.25, 0], [0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0]]
    assert np.allclose(found.on(vertices), expected)
    assert np.allclose(found.weights.sum(1), 1)


def test_a_cut_follows_the_zero_line_and_simplifying_keeps_the_shape():
    vertices, triangles = sphere()
    kept, mix, weights = meshes.cut(triangles, vertices[:, 2], snap=0.1)
    points = (vertices[mix] * weights[..., None]).sum(1)
    loop, = meshes.boundary_loops(kept)
    assert np.abs(points[loop, 2]).max() < 0.02 and points[:, 2].min() > -0.02
    locked = np.zeros(len(points), bool)
    locked[loop] = True
    simple = meshes.simplify(points, kept, locked, len(points) // 2)
    assert len(np.unique(simple)) == len(points) - len(points) // 2
    assert np.array_equal(np.sort(meshes.boundary_loops(simple)[0]), np.sort(loop))
    assert closest_points(points, points, simple).distance.max() < 0.05


def test_registration_bends_the_face_onto_a_longer_wider_one(model):
    template = model.template.astype(np.float64)
    other = template * [1.05, 1.08, 0.93]
    other[:, 0] += 0.004 * np.sin(40 * template[:, 2])
    anchors = np.array([model.sellion, *model.landmark_vertices[[30, 8, 0, 16], 0]])
    _, found = register(template, model.triangles, other, model.triangles, anchors, other[anchors])
    error = np.linalg.norm(found.on(other) - other, axis=1)
    assert found.distance.mean() < 2e-4
    assert np.median(error) < 2e-3


def test_a_torso_turns_fully_below_the_neck_and_the_face_not_at_all():
    points = np.array([[0.02, 0, -0.04], [0, 0.03, 0.05], [-0.1, 0.2, -0.3]], np.float32)
    blend = neck_blend(points)
    assert np.allclose(blend, [1, 1, 0])
    pivot = np.array([-0.1, 0, -0.13], np.float32)
    turned = turn_torso(points, blend, np.array([0, 0, np.pi / 2]), pivot)
    assert np.array_equal(turned[:2], points[:2])
    assert np.allclose(turned[2], [-0.3, 0, -0.3], atol=1e-6)


def test_smiles_come_with_cheeks_teeth_and_one_side_and_are_rare_unless_wanted():
    rng = np.random.default_rng(0)
    names = {name: i for i, name in enumerate(EXPRESSION_NAMES)}
    drawn = np.stack([random_expression(rng, smiles=0.3) for _ in range(3000)])
    left, right, cheek, lip, jaw = (drawn[:, names[name]] for name in (
        'mouthSmileLeft', 'mouthSmileRight', 'cheekSquintLeft', 'mouthUpperUpLeft', 'jawOpen'))
    smiles = np.maximum(left, right) > 0.3
    assert 0.2 < smiles.mean() < 0.4
    broad = smiles & (left > 0.3)
    for partner in (cheek, lip):
        assert (partner[broad] > 0.1).mean() > 2 * (partner[~smiles] > 0.1).mean()
    assert (jaw[broad] < 0.05).mean() > 0.2 and (jaw[broad] > 0.2).mean() > 0.1
    assert (np.abs(left - right)[smiles] > 0.3).mean() > 0.05
    usual = np.stack([random_expression(rng) for _ in range(1000)])
    assert (usual[:, names['mouthSmileLeft']] > 0.3).mean() < 0.12


@pytest.mark.parametrize('seed', range(4))
def test_expressions_stay_possible(seed):
    rng = np.random.default_rng(seed)
    index = {name: i for i, name in enumerate(EXPRESSION_NAMES)}
    drawn = np.stack([random_expression(rng) for _ in range(300)])
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert (drawn[:, index['mouthClose']] <= drawn[:, index['jawOpen']] + 1e-6).all()
    assert (drawn[:, index['jawLeft']] * drawn[:, index['jawRight']] == 0).all()
    assert (drawn.max(0) > 0.3).all(), 'every action occurs'


def test_hair_binds_by_barycentric_weights_and_scaled_offsets(tmp_path):
    (tmp_path / 'tuft.obj').write_text('v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n')
    (tmp_path / 'tuft.mhclo').write_text(
        'x_scale 0 1 2.0\ny_scale 0 2 1.0\nz_scale 0 3 1.0\nverts 0\nmaterial tuft.mhmat\n'
        '0\n1 2 3 0.5 0.25 0.25 0 0 0\n0 0 0 1 0 0 1 2 3\n')
    style = HairStyle.load(tmp_path / 'tuft.mhclo')
    # In the face frame's axes MakeHuman's x, y, z are y, z, x.
    base = np.array([[0, 0, 0], [0, 4, 0], [0, 0, 1], [2, 0, 0.0]])
    hair = style.on(base)
    assert np.allclose(hair[0], base[0])
    assert np.allclose(hair[1], 0.5 * base[1] + 0.25 * base[2] + 0.25 * base[3])
    assert np.allclose(hair[2], [3 * 2, 1 * 2, 2 * 1])


@pytest.fixture(scope='module')
def factory():
    key = hashlib.sha256(FACE_MODEL.read_bytes()).hexdigest()[:8]
    if not list(people.CACHE.glob(f'anny-*-{key}/validation.npy')):
        pytest.skip(f'no people in {people.CACHE}: they are baked by the first training run')
    prepared = bool(list(people.CACHE.glob(f'ict-*-{key}.npz')))
    return people.PeopleFactory('validation', ict_folder='prepared' if prepared else None)


@pytest.mark.parametrize('generator', ['anny', 'ict'])
def test_labels_lie_on_the_visible_head(factory, generator, monkeypatch):
    if generator == 'ict' and factory.ict is None:
        pytest.skip('ICT-FaceKit is not prepared on this machine')
    monkeypatch.setattr(people, 'ICT_SHARE', float(generator == 'ict'))
    monkeypatch.setattr(people, 'groom', lambda vertices, triangles, *_:  # nothing over the skin
                        (vertices, np.zeros(len(triangles), bool)))
    rng = np.random.default_rng(0)
    for _ in range(3):
        person = factory.sample(rng)
        assert person.generator == generator
        head = closest_points(person.face_vertices, person.head_vertices,
                              person.head_triangles[:person.hair_start])
        assert head.distance.mean() < 5e-4
        tip = person.face_vertices[:, 0].max()
        assert 0 < tip < 0.06 and np.isfinite(person.body_vertices).all()
        assert person.head_triangles.max() < len(person.head_vertices)


def test_the_splits_share_no_identity():
    from training.synthesis.people import anny_people, ict_people

    assert not set(anny_people.IDENTITIES['train']) & set(anny_people.IDENTITIES['validation'])
    assert ict_people.IDENTITIES['train'][1] <= ict_people.IDENTITIES['validation'][0]


def test_beards_and_cloth_lie_outside_the_labelled_skin(factory):
    """Hair and masks move skin outwards in their regions only."""
    rng = np.random.default_rng(2)
    vertices, triangles = factory.anny.neutral(3), factory.anny.head_triangles
    regions = factory.anny_regions
    beard = np.maximum(regions.beard, regions.moustache)
    grown = grow(vertices, triangles, beard, 0.010, 0.5, rng)
    moved = np.linalg.norm(grown - vertices, axis=1)
    label = factory.anny.face(vertices)
    skin = closest_points(label, grown, triangles)
    out = ((skin.on(grown) - label) * vertex_normals(label, factory.head_model.triangles)).sum(1)
    landmarks = factory.head_model.landmarks(label)
    chin, eyes = landmarks[8], landmarks[68:]
    assert np.median(moved[np.linalg.norm(vertices - chin, axis=1) < 0.015]) > 0.005
    assert np.median(out[np.linalg.norm(label - chin, axis=1) < 0.015]) > 0.003
    for eye in eyes:
        assert moved[np.linalg.norm(vertices - eye, axis=1) < 0.02].max() == 0
    bonnet = cover(vertices, regions.bonnet, SKULL * 1.1, 1, rng)
    assert np.abs(bonnet - vertices)[vertices[:, 2] < -0.02].max() == 0
    assert bonnet[:, 2].max() > vertices[:, 2].max() + 0.004


@pytest.mark.parametrize('seed', range(5))
def test_glasses_sit_before_the_eyes_and_reach_the_ears(seed):
    model = FaceModel.load()
    landmarks = model.landmarks(model.template)
    glasses = sample_glasses(np.random.default_rng(seed), landmarks)
    points = glasses.frame.reshape(-1, 3)
    for eye in landmarks[68:]:
        before = points[np.abs(points[:, 1:] - eye[1:]).max(1) < 0.03]
        assert (before[:, 0] > eye[0] + 0.004).all() and before[:, 0].max() < eye[0] + 0.04
    assert points[:, 0].min() < landmarks[0, 0] and np.abs(points[:, 1]).max() < 0.1
