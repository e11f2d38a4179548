# SPDX-License-Identifier: Apache-2.0
"""The node's pipeline on a recording: every frame, in order, at whatever speed the machine has."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from depthface_ros.estimation.estimator import FaceEstimator
from depthface_ros.io.frame import Recording
from depthface_ros.tracking.face_tracker import FaceTracker
from depthface_ros.tracking.tracks import Track, Tracker, TrackerConfig, in_image


@dataclass(frozen=True)
class Summary:
    """What a run has seen."""

    frames: int
    frames_with_faces: int
    faces: int
    ids: int


def run_recording(recording: Recording, estimator: FaceEstimator, results: Sequence,
                  config: TrackerConfig = TrackerConfig(),
                  show: Callable[[Iterable], Iterable] = iter) -> Summary:
    """Track faces in a recording as the node does, and hand each frame with them to the results.

    :param results: objects of :mod:`depthface_ros.io.writers`; closed in the end, errors or not.
    :param show: wraps the frames, to show progress.
    """
    tracker = FaceTracker(estimator, config) if recording.stamped else Stills(estimator, config)
    frames = frames_with_faces = faces = 0
    ids = set()
    with ExitStack() as stack:
        for result in results:
            stack.callback(result.close)
        for frame in show(recording):
            tracks = tracker(frame.depth, frame.intrinsics, frame.stamp_ns)
            for result in results:
                result.write(frame, tracks)
            seen = in_image(tracks, frame.stamp_ns)
            frames += 1
            frames_with_faces += bool(seen)
            faces += len(seen)
            ids |= {track.id for track in seen}
    return Summary(frames, frames_with_faces, faces, len(ids))


class Stills:
    """Faces in images that may not belong together: each image by itself, all that it shows.

    Only ids go from one image to the next, to faces in the same place.
    """

    def __init__(self, estimator: FaceEstimator, config: TrackerConfig):
        self._estimator, self._tracker = estimator, Tracker(replace(config, sightings=1))

    def __call__(self, depth, intrinsics, stamp_ns: int) -> list[Track]:
        return self._tracker.update(self._estimator(depth, intrinsics), stamp_ns)
