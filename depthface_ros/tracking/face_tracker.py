# SPDX-License-Identifier: Apache-2.0
"""Images of one depth camera in, tracked faces out: what the node and `depthface run` share."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from depthface_ros.estimation.estimator import FaceEstimator
from depthface_ros.estimation.head_detector import FinderConfig
from depthface_ros.estimation.types import Face, HeadCandidates
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.tracking.smoothing import FaceSmoother
from depthface_ros.tracking.tracks import Track, Tracker, TrackerConfig

# m; a head that was found this near to where a tracked one was expected is no news of where it is:
# the finder errs by 0.02
SAME_PLACE = 0.05


class FaceTracker:
    """Follows faces through the images of one camera. The same images give the same tracks."""

    def __init__(self, estimator: FaceEstimator, config: TrackerConfig = TrackerConfig(),
                 numbers: Iterator[int] | None = None):
        """Start without faces; for the numbers see :class:`depthface_ros.tracking.tracks.Tracker`."""
        self.estimator = estimator
        self._tracker = Tracker(config, numbers)
        self.reset()

    @property
    def config(self) -> TrackerConfig:
        """May be set at any time."""
        return self._tracker.config

    @config.setter
    def config(self, config: TrackerConfig) -> None:
        self._tracker.config = config
        self._smoothers = {}  # they start again, as the new configuration says

    def reset(self) -> None:
        """Forget all faces; later ones get new ids."""
        self._tracker.reset()
        self._smoothers: dict[str, FaceSmoother] = {}
        self._tracks: list[Track] = []
        self._newest_ns = self._searched_ns = None

    def __call__(self, depth: np.ndarray, intrinsics: Intrinsics, stamp_ns: int,
                 stage_done: Callable[[str], None] = lambda stage: None) -> list[Track]:
        """The faces that are public after this image, oldest first; those in it bear its stamp.

        An image a little older than the newest one changes nothing; a jump further back in time,
        as of a bag that starts again, makes a new start. For the rest see
        :class:`depthface_ros.estimation.estimator.FaceEstimator`.
        """
        if self._newest_ns is not None and stamp_ns < self._newest_ns:
            if self._newest_ns - stamp_ns <= self.config.time_jump_s * 1e9:
                return self._tracks
            self.reset()
        # What is not finite would stay in filters and in what is expected for ever.
        faces = [face for face in self._faces(depth, intrinsics, stamp_ns, stage_done)
                 if finite(face)]
        self._newest_ns = stamp_ns
        self._tracks = self._smoothed(self._tracker.update(faces, stamp_ns))
        stage_done('tracking')
        return self._tracks

    def _faces(self, depth, intrinsics, stamp_ns, stage_done):
        """Faces where tracked heads should be, and, now and then, in the rest of the image."""
        known = self._tracker.heads(stamp_ns)
        if self._tracker.settled and self._newest_ns < stamp_ns < self._search_ns:
            faces = self.estimator(depth, intrinsics, heads=known, stage_done=stage_done)
            if len(faces) >= len(known.centres):
                return faces
            # One is lost: perhaps it moved, so the rest of this image is searched as well.
        found = self.estimator.find_heads(depth, intrinsics)
        stage_done('find heads')
        self._searched_ns = stamp_ns
        heads = joined(known, found, self.estimator.config.finder)
        return self.estimator(depth, intrinsics, heads=heads, stage_done=stage_done)

    @property
    def _search_ns(self) -> int:
        """When to search the whole image again."""
        return self._searched_ns + round(self.config.search_s * 1e9)

    def _smoothed(self, tracks: list[Track]) -> list[Track]:
        if not self.config.smoothing.enabled:
            return tracks
        before, self._smoothers, smoothed = self._smoothers, {}, []
        for track in tracks:
            smoother = before.get(track.id)
            if smoother is None:
                smoother = FaceSmoother(track.face, track.stamp_ns, self.config.smoothing)
            elif track.seen:
                smoother.update(track.face, track.stamp_ns)
            self._smoothers[track.id] = smoother
            smoothed.append(replace(track, face=smoother.face))
        return smoothed


def finite(face: Face) -> bool:
    """Whether all numbers of a face are."""
    return all(np.isfinite(part).all()
               for part in (face.camera_from_face, face.vertices, face.expression))


def joined(known: HeadCandidates, found: HeadCandidates, config: FinderConfig) -> HeadCandidates:
    """Known heads with news of them, then the other heads that were found."""
    if not len(found.centres):
        return known._replace(detector_score=np.minimum(known.detector_score, config.threshold))
    apart = np.linalg.norm(known.centres[:, None] - found.centres, axis=-1)  # (known, found)
    nearest, distance = apart.argmin(axis=1), apart.min(axis=1)
    again = distance < config.separation
    moved = (again & (distance > SAME_PLACE))[:, None]
    centres = np.where(moved, found.centres[nearest], known.centres)
    score = np.where(again, found.detector_score[nearest],
                     np.minimum(known.detector_score, config.threshold))
    new = (apart >= config.separation).all(axis=0)
    return HeadCandidates(np.concatenate([centres, found.centres[new]]),
                 np.concatenate([score, found.detector_score[new]]),
                 np.arange(len(centres) + new.sum()) < len(centres))
