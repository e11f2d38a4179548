# SPDX-License-Identifier: Apache-2.0
"""How often, and from where, the pose network looks at a head before its pose is believed."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depthface_ros.estimation.head_detector import MIN_DEPTH
from depthface_ros.estimation.poses import Poses, averaged
from depthface_ros.geometry.crop import HEAD_CENTRE_FACE, points_camera, tilt

MOST_LOOKS = 4  # at a head; more than two only while the pose network is not
SURE = 0.9  # that there is a face
HOPELESS = 0.75  # rad, one sigma of rotation, from which on a head is not looked at again
# A second opinion on a head: rolled by so much (rad), and the mirror image or not.
TTA_VIEWS = ((0.25, False), (-0.25, False), (0.25, True), (-0.25, True))

# Asked with head centres (N, 3), rolls (N,) in radians, and whether to see the mirror image.
Look = Callable[..., Poses]


def recrop(look: Look, poses: Poses, head_centres: np.ndarray, recentre: float,
               upright: float) -> None:
    """Predict poses anew, in place, of heads off the middle of their crop, or tilted in it.

    The new crop has the head in its middle and upright, if the last look was right; the network
    tells which of the two it is surer of. Heads in doubt are followed for some looks more. Where it
    sees no face by far, a better crop shows none either.

    :param head_centres: (N, 3) metres, camera frame: the middles of the crops, which were upright.
    :param recentre: metres, and `upright`, radians, that a head may be off.
    """
    middle, roll_seen = head_centres.copy(), np.zeros(len(head_centres), np.float32)
    for already in range(MOST_LOOKS - 1):
        centres, roll = _centres_and_roll(poses)
        off = np.linalg.norm(centres - middle, axis=1)
        again = (off > recentre) | (np.abs(roll - roll_seen) > upright)
        again &= poses.rotation_std <= HOPELESS
        again &= np.isfinite(off) & (centres[:, 2] > MIN_DEPTH)
        if already:
            again &= poses.confidence < SURE
        again = np.flatnonzero(again)
        if not len(again):
            return
        new = look(centres[again], roll[again])
        surer = new.rotation_std < poses.rotation_std[again]
        poses.replace(again[surer], new.of(surer))
        middle[again], roll_seen[again] = centres[again], roll[again]


def test_time_augmentation(look: Look, poses: Poses, doubtful: np.ndarray) -> None:
    """Average several looks, in place, at heads that may or may not be faces, by a mask (N,).

    What is a face looks like one from all sides; and poses of faces that are hard to tell, half
    hidden ones and profiles, err less together.
    """
    centres, roll = _centres_and_roll(poses)
    doubtful = np.flatnonzero(doubtful & (centres[:, 2] > MIN_DEPTH))
    if not len(doubtful):
        return
    looks = [look(centres[doubtful], roll[doubtful] + turn, mirrored)
             for turn, mirrored in TTA_VIEWS]
    poses.replace(doubtful,
                  averaged([poses.of(doubtful)] + [each for each in looks if each.finite]))


def _centres_and_roll(poses: Poses) -> tuple[np.ndarray, np.ndarray]:
    """Where heads are, (N, 3) metres in the camera frame, and how they are tilted, (N,) rad."""
    centres = points_camera(poses.camera_from_face, HEAD_CENTRE_FACE)
    return centres, tilt(poses.camera_from_face, centres)
