# SPDX-License-Identifier: Apache-2.0
"""The pipeline on a recording: every frame, in order, at whatever speed the machine has."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from depthface_ros.estimator import FaceEstimator
from depthface_ros.recordings import Recording
from depthface_ros.tracking import Tracker, TrackerConfig


@dataclass(frozen=True)
class Summary:
    """What a run has seen."""

    frames: int
    frames_with_faces: int
    faces: int
    ids: int


def run_recording(recording: Recording, estimator: FaceEstimator, results: Sequence,
                  show: Callable[[Iterable], Iterable] = iter) -> Summary:
    """Estimate and track faces in a recording and hand each frame with its tracks to the results.

    :param results: objects of :mod:`depthface_ros.results`; closed in the end, errors or not.
    :param show: wraps the frames, to show progress.
    """
    # Nothing is lost by telling of a face at its first sight: a file can be filtered afterwards.
    tracker = Tracker(TrackerConfig(sightings=1))
    frames = frames_with_faces = faces = 0
    ids = set()
    with ExitStack() as stack:
        for result in results:
            stack.callback(result.close)
        for frame in show(recording):
            tracks = [track for track in tracker.update(estimator(frame.depth, frame.intrinsics),
                                                        frame.stamp_ns) if track.seen]
            for result in results:
                result.write(frame, tracks)
            frames += 1
            frames_with_faces += bool(tracks)
            faces += len(tracks)
            ids |= {track.id for track in tracks}
    return Summary(frames, frames_with_faces, faces, len(ids))
