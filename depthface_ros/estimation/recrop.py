# SPDX-License-Identifier: Apache-2.0
"""Repeated pose prediction: iterative re-cropping and test-time augmentation."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depthface_ros.estimation.head_detector import MIN_DEPTH
from depthface_ros.estimation.poses import Poses, averaged
from depthface_ros.geometry.crop import HEAD_CENTRE_FACE, points_camera, tilt

MAX_PASSES = 4  # of the pose network per head, the first one included
CONVERGED_CONFIDENCE = 0.9  # from which on a head gets one re-cropping at most
MAX_ROTATION_STD = 0.75  # rad, above which a head is not cropped again
# Test-time augmentation: roll of the crop (rad), and whether it is mirrored.
TTA_VIEWS = ((0.25, False), (-0.25, False), (0.25, True), (-0.25, True))

# (head centres (N, 3) m, rolls (N,) rad, mirrored) -> poses
PosePredictor = Callable[..., Poses]


def recrop(predict: PosePredictor, poses: Poses, head_centres: np.ndarray, recentre: float,
           upright: float) -> None:
    """Predict poses again, in place, of heads that are off the centre of their crop or tilted.

    The new crop is centred and upright according to the last pose. The prediction with the smaller
    rotation sigma is kept. Heads of low confidence may take several passes.

    :param head_centres: (N, 3) metres, camera frame: the centres of the first, upright crops.
    :param recentre: metres between head and centre of the crop above which it is cropped again.
    :param upright: radians of roll above which it is cropped again.
    """
    crop_centres, crop_roll = head_centres.copy(), np.zeros(len(head_centres), np.float32)
    for passes in range(1, MAX_PASSES):
        centres, roll = _centres_and_roll(poses)
        off = np.linalg.norm(centres - crop_centres, axis=1)
        again = (off > recentre) | (np.abs(roll - crop_roll) > upright)
        again &= poses.rotation_std <= MAX_ROTATION_STD
        again &= np.isfinite(off) & (centres[:, 2] > MIN_DEPTH)
        if passes > 1:
            again &= poses.confidence < CONVERGED_CONFIDENCE
        again = np.flatnonzero(again)
        if not len(again):
            return
        new = predict(centres[again], roll[again])
        better = new.rotation_std < poses.rotation_std[again]
        poses.replace(again[better], new.of(better))
        crop_centres[again], crop_roll[again] = centres[again], roll[again]


def test_time_augmentation(predict: PosePredictor, poses: Poses, uncertain: np.ndarray) -> None:
    """Average predictions from rolled and mirrored crops, in place, of heads by a mask (N,).

    Heads that are no faces are predicted to be faces from few views only; errors of half hidden
    faces and of profiles average out.
    """
    centres, roll = _centres_and_roll(poses)
    heads = np.flatnonzero(uncertain & (centres[:, 2] > MIN_DEPTH))
    if not len(heads):
        return
    views = [predict(centres[heads], roll[heads] + turn, mirrored) for turn, mirrored in TTA_VIEWS]
    poses.replace(heads, averaged([poses.of(heads), *(view for view in views if view.finite)]))


def _centres_and_roll(poses: Poses) -> tuple[np.ndarray, np.ndarray]:
    """Return head centres (N, 3) metres, camera frame, and rolls (N,) rad in an upright crop."""
    centres = points_camera(poses.camera_from_face, HEAD_CENTRE_FACE)
    return centres, tilt(poses.camera_from_face, centres)
