# SPDX-License-Identifier: Apache-2.0
"""The node's pipeline on a recording: every frame, in order, at whatever speed the machine has."""
from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from depthface_ros.estimation.estimator import FaceEstimator
from depthface_ros.io.frame import Frame, Recording
from depthface_ros.tracking.face_tracker import FaceTracker
from depthface_ros.tracking.stamps import fingerprint
from depthface_ros.tracking.tracks import Track, Tracker, TrackerConfig, in_image

LOG = logging.getLogger('depthface_ros')


@dataclass(frozen=True)
class Summary:
    """What a run has seen."""

    frames: int
    frames_with_faces: int
    faces: int
    ids: int
    skipped: dict[str, int] = field(default_factory=dict)  # images, by fault of their stamps


def run_recording(recording: Recording, estimator: FaceEstimator, results: Sequence,
                  config: TrackerConfig = TrackerConfig(),
                  show: Callable[[Iterable], Iterable] = iter) -> Summary:
    """Track faces in a recording as the node does, and hand each frame with them to the results.

    :param results: objects of :mod:`depthface_ros.io.writers`; closed in the end, errors or not.
    :param show: wraps the frames, to show progress.
    """
    tracker = Stream(estimator, config) if recording.stamped else Stills(estimator, config)
    frames = frames_with_faces = faces = 0
    ids, skipped = set(), Counter()
    with ExitStack() as stack:
        for result in results:
            stack.callback(result.close)
        for frame in show(recording):
            frame, tracks, fault = tracker(frame)
            if fault:
                skipped[fault] += 1
                continue
            for result in results:
                result.write(frame, tracks)
            seen = in_image(tracks, frame.stamp_ns)
            frames += 1
            frames_with_faces += bool(seen)
            faces += len(seen)
            ids |= {track.id for track in seen}
    return Summary(frames, frames_with_faces, faces, len(ids), dict(skipped))


class Stream:
    """Tracks faces in the images of one camera, as the node does."""

    def __init__(self, estimator: FaceEstimator, config: TrackerConfig):
        self._tracker, self._reported = FaceTracker(estimator, config), set()

    def __call__(self, frame: Frame) -> tuple[Frame, list[Track], str]:
        """Return the frame at the time that counts, its public tracks, and why to skip it."""
        time = self._tracker.stamps.check(frame.stamp_ns if frame.stamped else None,
                                          fingerprint(frame.depth), frame.recorded_ns)
        if time.note and time.kind not in self._reported:
            self._reported.add(time.kind)
            LOG.warning('%s: %s', frame.name, time.note)
        tracks = self._tracker.track(frame.depth, frame.intrinsics, time)
        return replace(frame, stamp_ns=time.stamp_ns), tracks, time.fault


class Stills:
    """Faces in images that may not belong together: each image by itself, all that it shows.

    Only ids go from one image to the next, to faces in the same place.
    """

    def __init__(self, estimator: FaceEstimator, config: TrackerConfig):
        self._estimator, self._tracker = estimator, Tracker(replace(config, sightings=1))

    def __call__(self, frame: Frame) -> tuple[Frame, list[Track], str]:
        faces = self._estimator(frame.depth, frame.intrinsics)
        return frame, self._tracker.update(faces, frame.stamp_ns), ''
