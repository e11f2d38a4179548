# SPDX-License-Identifier: Apache-2.0
"""The node's pipeline on a recording: every frame, in order, as fast as the machine can."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from depthface_ros.estimation.estimator import FaceEstimator
from depthface_ros.io.depth_encodings import median_depth, unit_problem
from depthface_ros.io.errors import one_line
from depthface_ros.io.frame import Frame, Recording
from depthface_ros.io.rejections import Rejections
from depthface_ros.tracking.face_tracker import FaceTracker
from depthface_ros.tracking.stamps import fingerprint
from depthface_ros.tracking.tracks import Track, Tracker, TrackerConfig, in_image


@dataclass
class Summary:
    """Counts of a run."""

    frames: int = 0
    frames_with_faces: int = 0
    faces: int = 0
    ids: int = 0
    rejected: int = 0
    rejections: str = ''  # 'N of M images rejected: why', or empty
    skipped: dict[str, int] = field(default_factory=dict)  # images, by fault of their stamps

    def add(self, tracks: list[Track]) -> None:
        """Count a frame and the faces in it."""
        self.frames += 1
        self.frames_with_faces += bool(tracks)
        self.faces += len(tracks)


def run_recording(recording: Recording, estimator: FaceEstimator, results: Sequence,
                  config: TrackerConfig = TrackerConfig(),
                  show: Callable[[Iterable], Iterable] = iter) -> Summary:
    """Track faces in a recording as the node does, and hand each frame with them to the results.

    :param results: objects of :mod:`depthface_ros.io.writers`; closed in the end, errors or not.
    :param show: wraps the frames, to show progress or to stop early.
    :raises ValueError: no image can be read.
    """
    rejections, summary = recording.rejections, Summary()
    ids: set[str] = set()
    last: tuple[float | None, float] = None, 0.0  # median depth, focal length
    with ExitStack() as stack:
        for result in results:
            stack.callback(result.close)
        frames, single = _is_single(show(recording))
        track = (_Stream if recording.stamped and not single else _Stills)(estimator, config,
                                                                           rejections)
        for frame in frames:
            try:
                median = _checked_median(frame, rejections)
                frame, tracks, fault = track(frame)
            except Exception as error:  # one image never ends a run
                rejections.reject(one_line(error), frame.name)
                continue
            if fault:
                summary.skipped[fault] = summary.skipped.get(fault, 0) + 1
                continue
            for result in results:
                result.write(frame, tracks)
            shown = in_image(tracks, frame.stamp_ns)
            summary.add(shown)
            last = median, frame.intrinsics.fx
            ids |= {track.id for track in shown}
        rejections.require_some(summary.frames + len(summary.skipped))
    if summary.frames and not summary.faces:
        rejections.note(_why_none(*last))
    summary.ids, summary.rejected = len(ids), rejections.count
    summary.rejections = rejections.summary(summary.frames)
    return summary


class _Stream:
    """Track faces through the images of one camera. The tracker's stamps time them."""

    def __init__(self, estimator: FaceEstimator, config: TrackerConfig, rejections: Rejections):
        self._tracker, self._rejections = FaceTracker(estimator, config), rejections

    def __call__(self, frame: Frame) -> tuple[Frame, list[Track], str]:
        """Return a frame with its time, the tracks after it, and a fault if it is to be skipped."""
        time = self._tracker.stamps.check(frame.stamp_ns if frame.stamped else None,
                                          fingerprint(frame.depth), frame.recorded_ns)
        if time.note:
            self._rejections.note(f'{frame.name}: {time.note}')
        tracks = self._tracker.track(frame.depth, frame.intrinsics, time)
        return replace(frame, stamp_ns=time.stamp_ns), tracks, time.fault


class _Stills:
    """Estimate faces in images that may not belong together, each image for itself.

    Faces in the same place keep their ids from one image to the next.
    """

    def __init__(self, estimator: FaceEstimator, config: TrackerConfig, rejections: Rejections):
        self._estimator, self._tracker = estimator, Tracker(replace(config, sightings=1))

    def __call__(self, frame: Frame) -> tuple[Frame, list[Track], str]:
        faces = self._estimator(frame.depth, frame.intrinsics)
        return frame, self._tracker.update(faces, frame.stamp_ns), ''


def _is_single(frames: Iterable[Frame]) -> tuple[Iterator[Frame], bool]:
    """Return the frames, and whether there is only one, which no tracker can confirm."""
    frames = iter(frames)
    first = list(islice(frames, 2))
    return chain(first, frames), len(first) == 1


def _why_none(median_m: float | None, focal_px: float) -> str:
    """Return what to check where no image of a recording shows a face, by the last image."""
    depth = 'no valid depth' if median_m is None else f'a median depth of {median_m:.2f} m'
    return (f'no faces: the last image has {depth} and a focal length of {focal_px:.0f} px; if '
            'that is wrong, give --depth-unit and --intrinsics; --video shows the images')


def _checked_median(frame: Frame, rejections: Rejections) -> float | None:
    """Return the median depth in metres; warn of none and of one that no camera measures."""
    median = median_depth(frame.depth)
    problem = ('image without any valid depth' if median is None
               else unit_problem(median, str(frame.depth.dtype)))
    if problem:
        rejections.note(f'{frame.name}: {problem}')
    return median
