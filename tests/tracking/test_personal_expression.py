# SPDX-License-Identifier: Apache-2.0
"""What deviates from a person's own neutral surface shows as expression."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthface_ros.estimation.alignment import face_modes
from depthface_ros.face_model.expression_displacements import expression_displacements
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel
from depthface_ros.face_model.mirror import mirrored_expression, mirrored_offsets
from depthface_ros.geometry.rotations import rotation_from_vector
from depthface_ros.tracking import personal_expression
from depthface_ros.tracking.face_tracker import FaceTracker
from depthface_ros.tracking.personal_expression import displacement, expression_of_mesh

MODEL = FaceModel.load()
SEEN = np.ones(len(EXPRESSION_NAMES), np.float32)
STD = 0.002  # m, position of the face
# somebody who is not the template
PERSON = MODEL.template + np.tensordot(
    np.random.default_rng(1).normal(size=len(face_modes())), face_modes(), 1).astype(np.float32)


def coefficients(**values):
    return np.array([values.get(name, 0) for name in EXPRESSION_NAMES], np.float32)


SMILE = coefficients(mouthSmileLeft=0.8, mouthSmileRight=0.8)


def shown(expression, person=PERSON):
    return person + np.tensordot(expression, expression_displacements(), 1)


def measured(predicted, mesh, seen=SEEN, std=STD):
    return expression_of_mesh(predicted, seen, mesh, PERSON, std)


@pytest.mark.parametrize('expression', [
    SMILE, coefficients(jawOpen=0.7), coefficients(cheekPuff=0.8),
    coefficients(mouthSmileLeft=0.8)])
def test_an_expression_that_networks_see_at_half_its_size_comes_out_nearer_to_it(expression):
    predicted = expression / 2
    error = np.abs(measured(predicted, shown(expression)) - expression)
    moved = expression > 0
    assert error[moved].mean() < 0.75 * np.abs(predicted - expression)[moved].mean()
    assert error[~moved].max() < 0.2


def test_a_smile_that_the_surface_does_not_show_shrinks_and_one_that_it_shows_stays():
    np.testing.assert_allclose(measured(SMILE, shown(SMILE)), SMILE, atol=0.01)
    assert measured(SMILE, PERSON)[SMILE > 0].max() < 0.8 * SMILE.max()


@given(turn=st.tuples(*[st.floats(-0.008, 0.008)] * 3), move=st.tuples(*[st.floats(-1.5, 1.5)] * 3))
@settings(max_examples=25, deadline=None)
def test_an_error_of_the_pose_is_no_expression(turn, move):
    rotation = rotation_from_vector(np.array([turn], np.float32))[0]
    mesh = PERSON @ rotation.T + np.float32(1e-3) * np.array(move, np.float32)
    assert measured(coefficients(), mesh).max() < 0.12


def test_what_is_not_measured_stays_as_predicted():
    seen = SEEN.copy()
    seen[[name.endswith('Left') for name in EXPRESSION_NAMES]] = 0
    expression = measured(SMILE / 2, shown(SMILE), seen)
    left, right = (EXPRESSION_NAMES.index(f'mouthSmile{side}') for side in ('Left', 'Right'))
    assert expression[left] == SMILE[left] / 2
    assert expression[right] > 0.5


def test_uncertain_faces_follow_the_networks():
    near, far = (measured(SMILE / 2, shown(SMILE), std=std) for std in (0.002, 0.05))
    assert np.abs(far - SMILE / 2).max() < 0.2 * np.abs(near - SMILE / 2).max()


def test_a_face_and_its_mirror_image_have_mirrored_expressions():
    expression = coefficients(mouthSmileLeft=0.7, jawOpen=0.2)
    result = measured(expression / 3, shown(expression))
    neutral, mesh = (MODEL.template + mirrored_offsets((vertices - MODEL.template)[None])[0]
                     for vertices in (PERSON, shown(expression)))
    mirrored = expression_of_mesh(mirrored_expression(expression[None] / 3)[0], SEEN, mesh,
                                  neutral, STD)
    np.testing.assert_allclose(mirrored_expression(mirrored[None])[0], result, atol=0.02)


@given(st.integers(0, 2 ** 32 - 1))
@settings(max_examples=25, deadline=None)
def test_coefficients_stay_in_their_range_whatever_the_mesh(seed):
    rng = np.random.default_rng(seed)
    mesh = (PERSON + rng.normal(scale=0.02, size=PERSON.shape)).astype(np.float32)
    result = measured(rng.random(len(SEEN)).astype(np.float32), mesh)
    assert result.dtype == np.float32
    assert result.min() >= 0 and result.max() <= 1


def test_meshes_of_other_topologies_have_the_expression_of_the_networks():
    mesh = np.zeros((40, 3), np.float32)
    assert expression_of_mesh(SMILE, SEEN, mesh, mesh, STD) is SMILE
    assert not displacement(SMILE, 40).any()


def test_an_open_jaw_lowers_the_chin_and_turned_eyes_move_no_skin():
    jaw = displacement(coefficients(jawOpen=1), len(PERSON))
    assert jaw[MODEL.regions['chin'], 2].mean() < -0.02
    assert np.abs(jaw[MODEL.regions['forehead']]).max() < 0.001
    assert not displacement(coefficients(eyeLookUpLeft=1), len(PERSON)).any()


def test_a_tracker_computes_the_linear_model_before_its_first_face():
    personal_expression._linear_model.cache_clear()
    FaceTracker(estimator=None)
    assert personal_expression._linear_model.cache_info().currsize == 1
