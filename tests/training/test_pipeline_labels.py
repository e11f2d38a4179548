# SPDX-License-Identifier: Apache-2.0
"""Labels of unlabelled frames are the faces that the pipeline finds, on the measured surface."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('rosbags')

from drawn_faces import CAMERA, MODEL, face_at, frame_of

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.io.frame import Frame
from training.adapt.pipeline_labels import Labeller, in_face_frame, mean_face
from training.adapt.target_domain import numbers_of
from training.data.augment import transform
from training.data.frame_views import mirrored
from training.evaluation.self_consistency import disagreement, mesh_to_points, mirror_face


@pytest.fixture(scope='module')
def labeller():
    return Labeller(MODELS_FOLDER)


@pytest.fixture(scope='module')
def frame():
    return frame_of(face_at(yaw=20, pitch=-5))


def test_labels_are_the_face_of_the_image(labeller, frame):
    """The labelled mesh stands where the true one does, and lies on the measured points."""
    seen = labeller([frame, frame])
    assert len(seen.is_face) == 2
    template = torch.tensor(MODEL.template)
    mesh = transform(seen.camera_from_face, template + seen.offsets)[0].numpy()
    truth = face_at(yaw=20, pitch=-5)
    rigid, shift = disagreement(truth, replace(truth, camera_from_face=seen.camera_from_face[0].numpy(),
                                               vertices=mesh))
    assert rigid < 4 and shift < 4
    assert mesh_to_points(frame.depth, CAMERA, [replace(truth, vertices=mesh)], MODEL)[0] < 0.3  # mm
    # the window is a part of the image, so the mesh projects into its middle
    fx, _, cx, cy = numbers_of(seen.intrinsics)[0].tolist()
    middle = mesh.mean(0)
    assert abs(middle[0] / middle[2] * fx + cx - 80) < 20 and abs(middle[1] / middle[2] * fx + cy - 80) < 30
    assert float(seen.expression.min()) >= 0 and seen.expression.shape == (2, 52)


def test_a_mirrored_image_has_mirrored_labels(labeller, frame):
    plain, = labeller.faces(frame)
    other, = labeller.faces(mirrored(frame))
    degrees, millimetres = disagreement(mirror_face(plain, MODEL), other)
    assert degrees < 0.1 and millimetres < 0.1


def test_the_mean_of_a_face_and_its_turned_copy_lies_between():
    one, other = face_at(yaw=10, position=(0., 0., 0.8)), face_at(yaw=20, position=(0.004, 0., 0.8))
    middle = mean_face(one, replace(other, expression=0 * other.expression))
    between = face_at(yaw=15, position=(0.002, 0., 0.8))
    degrees, millimetres = disagreement(middle, between)
    assert degrees < 0.05 and millimetres < 0.4  # the heads turn about a point behind the sellion
    np.testing.assert_allclose(middle.expression, one.expression / 2)
    meshes = in_face_frame(np.stack([one.vertices, middle.vertices]),
                           np.stack([one.camera_from_face, middle.camera_from_face]))
    np.testing.assert_allclose(meshes[0], meshes[1], atol=1e-5)


def test_faces_without_support_and_empty_rooms_give_no_label(labeller, frame, monkeypatch):
    monkeypatch.setattr('training.adapt.pipeline_labels.MIN_SUPPORT', 1.01)
    assert not list(labeller.faces(frame))
    wall = Frame(0, np.full((240, 320), 2., np.float32), CAMERA, 'wall')
    with pytest.raises(ValueError, match='no face was found'):
        labeller([frame, wall])
