# SPDX-License-Identifier: Apache-2.0
"""The shipped mesh is a face: closed except for eyes, mouth and outline, symmetric, upright."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from depthface_ros.face_model.mesh import EXPRESSION_NAMES, LANDMARK_MIRROR, FaceModel


@pytest.fixture(scope='module')
def model() -> FaceModel:
    return FaceModel.load()


def edges_of(triangles):
    return [(int(a), int(b)) for t in triangles for a, b in zip(t, np.roll(t, -1))]


def openings_of(triangles):
    """Return the vertices of each opening, by following its border edges."""
    edges = set(edges_of(triangles))
    following = {a: b for a, b in edges if (b, a) not in edges}
    assert len(following) == sum((b, a) not in edges for a, b in edges), 'openings that touch'
    openings = []
    while following:
        start = vertex = next(iter(following))
        openings.append([])
        while True:
            openings[-1].append(vertex)
            vertex = following.pop(vertex)
            if vertex == start:
                break
    return openings


def test_every_edge_has_one_or_two_triangles_of_the_same_orientation(model):
    assert max(Counter(edges_of(model.triangles)).values()) == 1


def test_the_only_openings_are_outline_mouth_and_eyes(model):
    openings = sorted(openings_of(model.triangles), key=len)
    assert len(openings) == 4
    centres = np.array([model.template[opening].mean(0) for opening in openings])
    assert sorted(np.sign(np.round(centres[:2, 1], 3))) == [-1, 1]
    assert np.allclose(centres[2:, 1], 0, atol=1e-5)


def test_the_mesh_is_one_piece_without_stray_vertices(model):
    piece, front = {0}, {0}
    neighbours: dict[int, set[int]] = {}
    for a, b in edges_of(model.triangles):
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    while front:
        front = set().union(*(neighbours[vertex] for vertex in front)) - piece
        piece |= front
    assert len(piece) == len(model.template)


def test_size_of_the_topology(model):
    assert 1500 <= len(model.template) <= 2200
    assert model.template.dtype == np.float32 and model.triangles.dtype == np.int32


def test_triangles_face_outwards(model):
    corners = model.template[model.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    at_nose_tip = (model.triangles == model.template[:, 0].argmax()).any(1)
    assert (normals[at_nose_tip].mean(0) / np.linalg.norm(normals[at_nose_tip].mean(0)))[0] > 0.8
    # Seen from a point between the ears, most of a head faces away.
    away = ((corners.mean(1) - [-0.09, 0, -0.02]) * normals).sum(1)
    assert away.sum() > 0.9 * np.abs(away).sum()


def test_mirror_is_an_involution_that_swaps_left_and_right(model):
    assert np.array_equal(model.mirror[model.mirror], np.arange(len(model.mirror)))
    assert np.abs(model.template[model.mirror] * [1, -1, 1] - model.template).max() < 1e-6


def test_mirrored_triangles_are_triangles(model):
    def key(triangles):
        first = triangles.argmin(1)[:, None]
        turned = np.take_along_axis(triangles, (first + np.arange(3)) % 3, 1)
        return set(map(tuple, turned.tolist()))

    assert key(model.mirror[model.triangles][:, ::-1]) == key(model.triangles)


def test_landmarks_of_the_mirrored_face_are_the_mirrored_landmarks(model):
    landmarks = model.landmarks(model.template)
    assert np.abs(landmarks[LANDMARK_MIRROR] * [1, -1, 1] - landmarks).max() < 1e-5


def test_landmarks_lie_at_the_parts_they_are_named_after(model):
    landmarks = model.landmarks(model.template)
    assert (landmarks[[0, 17, 36, 48, 68], 1] < -0.02).all(), 'the first ones are the right ones'
    assert (landmarks[[16, 26, 45, 54, 69], 1] > 0.02).all()
    assert np.allclose(landmarks[27], 0, atol=1e-6), 'the sellion is the origin'
    foremost = landmarks[:, 0].max()
    assert landmarks[30, 0] == pytest.approx(foremost, abs=0.002), 'that is the nose tip'
    assert np.argmin(landmarks[:, 2]) == 8, 'the chin is lowest'
    assert (landmarks[17:27, 2] > landmarks[36:48, 2].max()).all(), 'brows over eyes'
    assert landmarks[33, 2] > landmarks[51, 2] > landmarks[57, 2] > landmarks[8, 2]
    assert 0.055 < np.linalg.norm(landmarks[68] - landmarks[69]) < 0.070, 'distance of the pupils'
    assert 0.10 < -landmarks[8, 2] < 0.13, 'sellion to chin'


def test_landmarks_take_batches_and_follow_rigid_motion(model):
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    faces = np.stack([model.template, model.template @ rotation.T + [1, 2, 3]])
    landmarks = model.landmarks(faces)
    assert landmarks.shape == (2, 70, 3)
    assert np.allclose(landmarks[1], landmarks[0] @ rotation.T + [1, 2, 3], atol=1e-5)


def test_closed_lips_touch(model):
    gap = model.landmarks(model.template)[62] - model.landmarks(model.template)[66]
    assert np.linalg.norm(gap) < 0.002


def test_expressions_are_arkits_fifty_two_with_their_mirror(model):
    assert len(set(EXPRESSION_NAMES)) == 52 and EXPRESSION_NAMES[0] == 'eyeBlinkLeft'
    mirror = model.expression_mirror
    assert np.array_equal(mirror[mirror], np.arange(52))
    names = model.expression_names
    assert names[mirror[names.index('mouthLeft')]] == 'mouthRight'
    assert names[mirror[names.index('jawOpen')]] == 'jawOpen'


def test_regions_split_the_face_and_are_symmetric(model):
    together = np.concatenate(list(model.regions.values()))
    assert np.array_equal(np.sort(together), np.arange(len(model.template)))
    for name, vertices in model.regions.items():
        twins = np.isin(model.mirror[vertices], vertices)
        assert twins.all(), f'{name} is not symmetric'


def test_stable_vertices_exclude_moving_parts(model):
    moving = np.concatenate([model.regions[name] for name in ('mouth', 'chin', 'jaw', 'lids')])
    assert not np.isin(model.stable, moving).any() and len(model.stable) > 300


def test_the_model_cannot_be_changed_by_accident(model):
    with pytest.raises(ValueError):
        model.template[0] = 0


def test_the_frankfurt_plane_is_level_by_the_soft_tissue_profile(model):
    """The line from sellion to pogonion is 91 +- 7 degrees from the horizontal (Holdaway 1983)."""
    chin = model.template[model.regions['chin']]
    chin = chin[chin[:, 2] < model.landmarks(model.template)[8, 2] + 0.02]
    pogonion = chin[chin[:, 0].argmax()]
    assert abs(np.degrees(np.arctan2(pogonion[0], -pogonion[2])) + 90 - 91) < 7
    subnasale, upper_lip = model.landmarks(model.template)[[33, 51]]
    assert upper_lip[0] > subnasale[0], 'lips stand before the base of the nose'


def test_the_line_of_sight_of_icts_heads_is_the_x_axis():
    """The figures that `python -m training face-frame` wrote for the mesh that ships."""
    figures = json.loads((Path(__file__).parents[2] / 'docs/results/face_frame.json').read_text())
    for name in ('sight_pitch_deg_of_labels', 'sight_pitch_deg_of_estimates'):
        assert figures[name]['count'] >= 200
        assert abs(figures[name]['mean']) < 1
    mesh = (files('depthface_ros') / 'models/face_model.npz').read_bytes()
    assert figures['face_model_sha256'] == hashlib.sha256(mesh).hexdigest()
