# SPDX-License-Identifier: Apache-2.0
"""The error prior of the alignment: measured on faces with drawn errors, stored beside the networks."""
import numpy as np
import pytest

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.alignment import aligned_triangles, face_modes
from depthface_ros.estimation.error_prior import ERROR_PRIOR_FILE, ErrorPrior
from depthface_ros.face_model.mesh import FaceModel

MODEL = FaceModel.load()
MODES, TRIANGLES = len(face_modes()), len(aligned_triangles(MODEL))


def test_saving_and_loading_are_inverse(tmp_path):
    rng = np.random.default_rng(0)
    saved = ErrorPrior(*(rng.normal(size=size).astype(np.float32) for size in ((8, 8), (3, 5), 5)))
    saved.save(tmp_path)
    loaded = ErrorPrior.load(tmp_path, modes=2, triangles=5)
    for name in ('error_cholesky', 'surface_loadings', 'triangle_information'):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
    with pytest.raises(ValueError, match=r'error_prior\.npz.*4 modes and 5 triangles.*calibrate'):
        ErrorPrior.load(tmp_path, modes=4, triangles=5)


@pytest.mark.parametrize('content', [b'', b'no archive', b'PK\x03\x04'])
def test_a_broken_file_is_named(tmp_path, content):
    (tmp_path / ERROR_PRIOR_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r'error_prior\.npz.*python -m training calibrate'):
        ErrorPrior.load(tmp_path, MODES, TRIANGLES)


def test_without_a_file_nothing_goes_with_anything(tmp_path):
    plain = ErrorPrior.load(tmp_path, modes=2, triangles=5)
    assert np.count_nonzero(plain.error_cholesky) == 8 and not plain.surface_loadings.size
    np.testing.assert_array_equal(plain.triangle_information, np.ones(5))


def test_the_sigmas_of_poses_that_are_not_aligned_are_those_of_their_errors():
    rng = np.random.default_rng(1)
    expected = ErrorPrior(np.tril(rng.normal(size=(8, 8))), np.zeros((0, 5)), np.ones(5))
    errors = rng.normal(size=(200_000, 8)) @ expected.error_cholesky.T
    rotation, position = expected.std(np.array([0.02, 0.04]), np.array([0.003]))
    np.testing.assert_allclose(rotation, errors[:, :3].std() * np.array([0.02, 0.04]), rtol=0.01)
    np.testing.assert_allclose(position, errors[:, 3:6].std() * 0.003, rtol=0.01)
    assert ErrorPrior.independent(2, 5).std(0.02, 0.003) == (0.02, 0.003)


def test_the_shipped_prior_has_plausible_sizes():
    shipped = ErrorPrior.load(MODELS_FOLDER, MODES, TRIANGLES)
    assert (MODELS_FOLDER / ERROR_PRIOR_FILE).exists()
    np.testing.assert_array_equal(np.triu(shipped.error_cholesky, 1), 0)
    of_each = np.linalg.norm(shipped.error_cholesky, axis=1)
    assert of_each.min() > 0.2 and of_each.max() < 1.5
    assert 0.0005 < np.linalg.norm(shipped.surface_loadings, axis=0).mean() < 0.005
    assert shipped.triangle_information.mean() == pytest.approx(1, abs=1e-4) and shipped.triangle_information.min() > 0


class TestMeasuring:
    """Fit as `python -m training calibrate` does."""

    pytest.importorskip('torch')

    def test_correlated_errors_are_measured(self):
        from training.calibrate.measure_errors import fit_error_cholesky
        rng = np.random.default_rng(1)
        pitch = rng.normal(0, 0.7, 4000)
        errors = rng.normal(0, 0.5, (4000, 6 + MODES))
        errors[:, 1], errors[:, 5] = pitch, -pitch + rng.normal(0, 0.1, 4000)
        errors[::100] *= 30  # outliers are clipped
        mixed = fit_error_cholesky(errors)
        covariance = mixed @ mixed.T
        assert covariance[1, 1] == pytest.approx(0.49, rel=0.15)
        assert covariance[1, 5] == pytest.approx(-0.49, rel=0.15)
        # mirror images are equally likely: pitch keeps its sign, yaw changes it
        assert covariance[1, 2] == pytest.approx(0, abs=1e-6)

    def test_surface_offsets_are_found_though_half_of_them_are_hidden(self):
        from training.calibrate.measure_errors import fit_surface_factors
        rng = np.random.default_rng(2)
        fringe = np.where(np.arange(60) < 20, 0.004, 0)
        noise = np.where(np.arange(60) % 2, 0.001, 0.003)
        distances = rng.normal(size=(500, 1)) * fringe + rng.normal(size=(500, 60)) * noise
        hidden = rng.random(distances.shape) < 0.5
        distances[hidden] = 0.1
        surface_loadings, information = fit_surface_factors(distances, np.where(hidden, 0, 0.9), n_factors=1)
        np.testing.assert_allclose(surface_loadings[0] * np.sign(surface_loadings[0].sum()), fringe, atol=6e-4)
        assert information[1::2].min() > 3 * information[::2].max()

    def test_a_face_is_compared_with_the_truth_in_its_own_frame(self):
        from drawn_faces import CAMERA, face_at, frame_of

        from training.calibrate.measure_errors import networks_alone
        truth = face_at(yaw=10)
        head = type('Head', (), {'camera_from_face': truth.camera_from_face, 'vertices_camera': truth.vertices})
        depth = (1000 * frame_of(truth).depth).round().astype(np.uint16)
        found = face_at(yaw=10 + np.degrees(0.03), position=(0.02, -0.01, 0.8))
        record = networks_alone(found, head, depth, CAMERA)
        np.testing.assert_allclose(record['pose_error'][:3] * found.rotation_std, [0, 0, -0.03], atol=1e-4)
        assert np.abs(record['shape_error']).max() < 1e-3  # both are of one shape
        seen = record['weights'] > 0.3
        assert seen.sum() > 150 and np.quantile(np.abs(record['distances'][seen]), 0.95) < 0.001
