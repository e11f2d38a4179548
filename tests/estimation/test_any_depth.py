# SPDX-License-Identifier: Apache-2.0
"""The shipped estimator accepts any input, and finds the faces of real frames."""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracle import CAMERA, estimator_of

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.estimation.types import HeadCandidates
from depthface_ros.geometry.rotations import yaw_pitch_roll


@pytest.mark.parametrize('depth, message', [
    (np.zeros((0, 640), np.uint16), r'\(0, 640\)'),
    (np.zeros((480, 640, 1), np.uint16), r'\(480, 640, 1\)'),
    (np.zeros(5, np.float32), r'\(5,\)'),
    (np.zeros((480, 640), np.uint8), 'uint8'),
    (np.zeros((480, 640), np.float64), 'float64'),
    (np.zeros((480, 640), np.int16), 'int16')])
def test_arrays_that_are_no_depth_image_are_refused_with_their_description(depth, message):
    with pytest.raises(ValueError, match=message):
        estimator_of([])[0](depth, CAMERA)


@pytest.mark.parametrize('values', [(0, 0, 0, 0), (525, -525, 320, 240), (np.nan, 525, 320, 240),
                                    (525, 525, np.inf, 240), (0.5, 0.5, 0.3, 0.3), (525, 525, 1e6, 240)])
def test_numbers_that_are_no_cameras_are_refused(values):
    with pytest.raises(ValueError, match='intrinsics'):
        estimator_of([])[0](np.ones((480, 640), np.float32), Intrinsics(*map(float, values)))


@pytest.mark.parametrize('centres', [np.zeros(3), np.zeros((2, 2)), [[np.nan, 0, 1]]])
def test_hints_that_are_no_positions_are_refused(centres):
    with pytest.raises(ValueError, match='head centres'):
        estimator_of([])[0](np.ones((480, 640), np.float32), CAMERA, HeadCandidates(centres))


# with the networks that ship -------------------------------------------------------------------


@pytest.fixture(scope='module')
def shipped():
    pytest.importorskip('onnxruntime')
    return FaceEstimator('cpu')


@pytest.mark.parametrize('value', [0, np.nan, np.inf, -np.inf, -1])
def test_frames_without_a_measurement_have_no_faces(shipped, value):
    assert shipped(np.full((480, 640), value, np.float32), CAMERA) == []


SIZES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=300)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_depth_of_any_size_and_content_gives_a_list_of_sound_faces(shipped, data):
    height, width = data.draw(SIZES)
    rng = np.random.default_rng(data.draw(st.integers(0, 2 ** 32)))
    if data.draw(st.booleans()):
        depth = rng.integers(0, data.draw(st.sampled_from([2, 1200, 65536])), (height, width), dtype=np.uint16)
    else:
        kinds = np.array([0.0, -1.0, np.nan, np.inf, -np.inf, 1e-45, 1e-6, 0.5, 0.8, 1.0, 30.0, 3e38], np.float32)
        depth = rng.choice(kinds, (height, width)) * np.float32(data.draw(st.sampled_from([1.0, 0.9])))
    focal = data.draw(st.floats(max(height, width) / 19, 1e5))
    camera = Intrinsics(focal, focal, data.draw(st.floats(0, width)), data.draw(st.floats(0, height)))
    hints = None
    if data.draw(st.booleans()):
        hints = HeadCandidates(data.draw(hnp.arrays(np.float32, (3, 3), elements=st.floats(-5, 25, width=32))))
    faces = shipped(depth, camera, hints)
    assert isinstance(faces, list)
    for face in faces:
        assert np.isfinite(face.vertices).all() and np.isfinite(face.camera_from_face).all()
        rotation = face.camera_from_face[:3, :3].astype(np.float64)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-4)
        assert face.expression.min() >= 0 and face.expression.max() <= 1


def real_frames():
    folder = Path(os.environ.get('DEPTHFACE_DATA', Path(__file__).parents[3] / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip(f'no real depth frames at {folder}; set DEPTHFACE_DATA')
    return folder


def test_the_person_of_a_real_kinect_frame_is_found_where_it_is(shipped):
    """The sellion is about 0.75 m away, seen in profile (read from the depth image)."""
    with np.load(real_frames() / 'kinect1_person' / 'frame.npz') as file:
        depth, k = file['depth_m'], file['K']
    face = shipped(depth, Intrinsics(*k.tolist()))[0]  # the most confident one
    assert 0.6 < face.camera_from_face[2, 3] < 0.95
    yaw, _, _ = np.degrees(yaw_pitch_roll(face.camera_from_face))
    assert 40 < yaw < 95


def test_faces_are_found_in_real_kinect_crops(shipped):
    with np.load(real_frames() / 'kinect2_unlabelled' / 'frames.npz') as file:
        depth, sizes = file['depth_mm'][::9], file['size_hw'][::9]
    found = 0
    for image, (height, width) in zip(depth, sizes):
        camera = Intrinsics(365.0, 365.0, (width - 1) / 2, (height - 1) / 2)
        found += len(shipped(image[:height, :width], camera)) == 1
    assert found >= 0.8 * len(depth)
