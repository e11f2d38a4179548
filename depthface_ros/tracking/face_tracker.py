# SPDX-License-Identifier: Apache-2.0
"""Track faces through the images of one depth camera; used by the node and `depthface run`."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from depthface_ros.estimation.estimator import FaceEstimator
from depthface_ros.estimation.head_detector import (
    MIN_DEPTH,
    DetectorConfig,
    non_maximum_suppression,
)
from depthface_ros.estimation.types import Face, HeadCandidates
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.tracking import smoothing
from depthface_ros.tracking.smoothing import FaceSmoother
from depthface_ros.tracking.stamps import Change, ImageTime, StampMonitor
from depthface_ros.tracking.tracks import Track, Tracker, TrackerConfig

# m; a detection closer than this to a predicted head keeps the predicted position, because the
# detector's own error is 0.02
SAME_PLACE = 0.05
# Support and sigma of a followed face, relative to the image before, from which on the pose network
# looks at it in the same image.
KEPT_SUPPORT, GROWN_STD = 0.75, 1.6
# rad; faces with a larger sigma are not followed: their errors would lead the next prediction, and
# so persist. Those of the pose network are independent, and average out.
NOISY_STD = 0.02


class FaceTracker:
    """Tracks faces through the images of one camera; the same images give the same tracks.

    `stamps` gives the images their times. Callers that have the time of arrival or the content of
    an image pass them there and call :meth:`track`.
    """

    def __init__(self, estimator: FaceEstimator, config: TrackerConfig = TrackerConfig(),
                 numbers: Iterator[int] | None = None):
        """Start without faces; see :class:`depthface_ros.tracking.tracks.Tracker` for `numbers`."""
        self.estimator = estimator
        self.stamps = StampMonitor(config.time_jump_s)
        self._tracker = Tracker(config, numbers)
        smoothing.prepare()
        self.reset()

    @property
    def config(self) -> TrackerConfig:
        """The configuration, which may be set at any time."""
        return self._tracker.config

    @config.setter
    def config(self, config: TrackerConfig) -> None:
        self._tracker.config = config
        self.stamps.jump_s = config.time_jump_s
        self._smoothers = {}  # they restart with the new configuration

    def reset(self) -> None:
        """Drop all faces; later ones get new ids."""
        self.stamps.reset()
        self._tracker.tracks = []
        self._aside: list[Track] = []  # the tracks before the last time jump
        self._smoothers: dict[str, FaceSmoother] = {}
        self._tracks: list[Track] = []
        self._searched_ns: int | None = None
        self._verified_ns = 0  # when the pose network saw all tracked faces

    def __call__(self, depth: np.ndarray, intrinsics: Intrinsics, stamp_ns: int,
                 stage_done: Callable[[str], None] = lambda stage: None) -> list[Track]:
        """Return the tracks that are public after this image, oldest first.

        Tracks visible in the image have `seen` set. A late image changes nothing. A jump back in
        time, as of a recording that restarts, ends all tracks. For the errors see
        :class:`depthface_ros.estimation.estimator.FaceEstimator`.

        :param stamp_ns: of the image; where stamps stand still, missed images end a track.
        """
        return self.track(depth, intrinsics, self.stamps.check(stamp_ns), stage_done)

    def track(self, depth: np.ndarray, intrinsics: Intrinsics, time: ImageTime,
              stage_done: Callable[[str], None] = lambda stage: None) -> list[Track]:
        """Return the tracks that are public after an image with a time of :attr:`stamps`."""
        if time.fault:
            return self._tracks
        self._follow_jump(time.change)
        # Non-finite numbers would persist in filters and predictions.
        faces = [face for face in self._faces(depth, intrinsics, time, stage_done)
                 if is_finite(face)]
        tracks = self._smoothed(self._tracker.update(faces, time.stamp_ns, time.timed))
        if time.change is Change.RESTART and not tracks:
            # If only this stamp is wrong, the next image resumes the earlier tracks.
            tracks = [replace(track, misses=track.misses + 1) for track in self._tracks]
        self._tracks = tracks
        stage_done('tracking')
        return self._tracks

    def _follow_jump(self, change: Change) -> None:
        if change is Change.NONE:
            return
        current = self._tracker.tracks
        if change is Change.RESTART:
            self._tracker.tracks = []
        elif change is Change.RESUME:
            self._tracker.tracks = self._aside
        self._aside = current
        if change is not Change.JUMP:
            self._smoothers = {}
            self._searched_ns = None

    def _faces(self, depth, intrinsics, time: ImageTime, stage_done) -> list[Face]:
        """Estimate faces at predicted heads and, when a search is due, in the whole image."""
        unsearched = (self._tracker.settled and time.timed
                      and not self._search_is_due(time.stamp_ns))
        if unsearched and (faces := self._followed(depth, intrinsics, time.stamp_ns, stage_done)):
            return faces
        known = self._tracker.head_candidates(time.stamp_ns)
        if unsearched:
            self._verified_ns = time.stamp_ns
            faces = self.estimator(depth, intrinsics, heads=known, stage_done=stage_done)
            if len(faces) >= len(known.centres):
                return faces
            # A face is missing and may have moved, so the whole image is searched as well.
        found = self.estimator.find_heads(depth, intrinsics)
        stage_done('find heads')
        self._searched_ns = self._verified_ns = time.stamp_ns
        heads = merge_candidates(known, found, self.estimator.config.detector)
        return self.estimator(depth, intrinsics, heads=heads, stage_done=stage_done)

    def _followed(self, depth, intrinsics, stamp_ns: int, stage_done) -> list[Face]:
        """Return the faces at their predicted poses; none if the pose network is to look at them.

        That is at times, in noisy images, and when a face is not where it is predicted: covered, or
        moved away.
        """
        verify = stamp_ns >= self._verified_ns + round(self.config.verify_s * 1e9)
        if verify or any(track.face.rotation_std > NOISY_STD for track in self._tracker.public):
            return []
        predicted = self._tracker.predicted_faces(stamp_ns)
        if (predicted.camera_from_face[:, 2, 3] <= MIN_DEPTH).any():
            return []  # a fast head would be behind the camera
        faces = self.estimator.follow(depth, intrinsics, predicted, stage_done)
        as_before = all(is_finite(face) and is_as_certain(face, track.face)
                        for face, track in zip(faces, self._tracker.public))
        distinct = len(non_maximum_suppression(
            np.array([face.camera_from_face[:3, 3] for face in faces]),
            self.estimator.config.separation)) == len(faces)
        return faces if as_before and distinct else []

    def _search_is_due(self, stamp_ns: int) -> bool:
        """Return whether the whole image is to be searched again."""
        return (self._searched_ns is None
                or stamp_ns >= self._searched_ns + round(self.config.search_s * 1e9))

    def _smoothed(self, tracks: list[Track]) -> list[Track]:
        if not self.config.smoothing.enabled:
            return tracks
        before, self._smoothers, smoothed = self._smoothers, {}, []
        for track in tracks:
            smoother = before.get(track.id)
            if smoother is None:
                smoother = FaceSmoother(track.face, track.motion.camera_from_face, track.stamp_ns,
                                        self.config.smoothing)
            elif track.seen:
                smoother.update(track.face, track.motion.camera_from_face, track.stamp_ns)
            self._smoothers[track.id] = smoother
            smoothed.append(replace(track, face=smoother.face))
        return smoothed


def is_as_certain(face: Face, before: Face) -> bool:
    """Return whether a face lies on the measured surface about as well as an image earlier."""
    return (face.support >= KEPT_SUPPORT * before.support
            and face.rotation_std <= GROWN_STD * before.rotation_std)


def is_finite(face: Face) -> bool:
    """Return whether all numbers of a face are finite."""
    return all(np.isfinite(part).all() for part in (
        face.camera_from_face, face.vertices, face.expression, face.position_std,
        face.rotation_std, face.support))


def merge_candidates(known: HeadCandidates, found: HeadCandidates,
                     config: DetectorConfig) -> HeadCandidates:
    """Return the known heads, updated by detections of them, then the other detections."""
    if not len(found.centres):
        return known._replace(detector_score=np.minimum(known.detector_score, config.threshold))
    distances = np.linalg.norm(known.centres[:, None] - found.centres, axis=-1)  # (known, found)
    nearest, distance = distances.argmin(axis=1), distances.min(axis=1)
    detected = distance < config.separation
    moved = (detected & (distance > SAME_PLACE))[:, None]
    centres = np.where(moved, found.centres[nearest], known.centres)
    score = np.where(detected, found.detector_score[nearest],
                     np.minimum(known.detector_score, config.threshold))
    new = (distances >= config.separation).all(axis=0)
    return HeadCandidates(np.concatenate([centres, found.centres[new]]),
                          np.concatenate([score, found.detector_score[new]]),
                          np.arange(len(centres) + new.sum()) < len(centres))
