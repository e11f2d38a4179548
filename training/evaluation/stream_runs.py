# SPDX-License-Identifier: Apache-2.0
"""Run a tracker over a rendered stream and hold its tracks against the truth, person by person."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from depthface_ros import FaceTracker
from depthface_ros.estimation.covariance import axis_std, error_axes
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel
from depthface_ros.geometry.rotations import vector_from_rotation
from depthface_ros.tracking.assignment import match_pairs
from depthface_ros.tracking.tracks import Track, in_image
from training.evaluation.errors import inner_face, rigidly_aligned
from training.synthesis.streams.stream import Stream
from training.synthesis.surface_points import closest_points

MATCH_WITHIN = 0.10  # m between sellions
SURFACE_EVERY = 5  # images between two comparisons of surfaces, which cost more than tracking


@dataclass(frozen=True, eq=False)
class PersonRun:
    """One person over the N images of a stream; NaN or '' where no public track shows the face.

    in_view:    (N,) bool, whether a tracker is expected to find the face
    since:      (N,) s, since the face came into view; NaN while it is not in view
    ids:        (N,) of the track
    rotation:   (N, 3) rad, rotation vector of the error, camera axes
    position:   (N, 3) m, estimated less true sellion, camera axes
    sigmas:     (N, 6) errors of the pose divided by their predicted sigmas, along the axes of
                :func:`depthface_ros.estimation.covariance.error_axes`
    surface:    (N, 3) mm, mesh to true surface: all as posed, the inner face as posed, and all
                after rigid alignment; every SURFACE_EVERY images
    expression: (N, 52) estimated coefficients; `true_expression` and `poses` are the truth
    """

    stream: Stream
    person: int
    in_view: np.ndarray
    since: np.ndarray
    ids: np.ndarray
    rotation: np.ndarray
    position: np.ndarray
    sigmas: np.ndarray
    surface: np.ndarray
    expression: np.ndarray

    @property
    def found(self) -> np.ndarray:
        return self.ids != ''

    @property
    def true_expression(self) -> np.ndarray:
        return self.stream.expressions[:, self.person]

    @property
    def poses(self) -> np.ndarray:
        return self.stream.poses[:, self.person]

    def without_images(self) -> PersonRun:
        """Return the run without the depth images, which scores need no more."""
        return replace(self, stream=self.stream.without_images())


@dataclass(frozen=True, eq=False)
class StreamRun:
    """What a tracker made of a stream; false_faces: tracks in images that match nobody."""

    stream: Stream
    people: Sequence[PersonRun]
    false_faces: int


def run_stream(tracker: FaceTracker, stream: Stream) -> StreamRun:
    """Pass the images of a stream to a tracker, from a reset on, and compare."""
    tracker.reset()
    return compare(stream, (in_image(tracker(stream.image(i), stream.intrinsics, int(stamp_ns)),
                                     int(stamp_ns))
                            for i, stamp_ns in enumerate(stream.stamps_ns)))


def compare(stream: Stream, tracks_of_images: Iterable[Sequence[Track]]) -> StreamRun:
    """Compare the tracks of each image, an iterable of lists, with the people in it."""
    runs = [_unseen(stream, k) for k in range(len(stream.identities))]
    false_faces = 0
    for i, tracks in enumerate(tracks_of_images):
        matches = _match(tracks, stream.poses[i])
        false_faces += len(tracks) - len(matches)
        for k, j in matches.items():
            _note(runs[k], i, tracks[j])
    return StreamRun(stream, runs, false_faces)


def _unseen(stream: Stream, person: int) -> PersonRun:
    count = len(stream)
    in_view = np.array([stream.in_view(i, person) for i in range(count)])
    return PersonRun(stream, person, in_view, _seconds_in_view(in_view, stream.seconds),
                     np.full(count, '', object), *(np.full((count, size), np.nan) for size in (
                         3, 3, 6, 3, len(EXPRESSION_NAMES))))


def _seconds_in_view(in_view: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    since, start = np.full(len(in_view), np.nan), None
    for i, visible in enumerate(in_view):
        start = None if not visible else seconds[i] if start is None else start
        if visible:
            since[i] = seconds[i] - start
    return since


def _match(tracks: Sequence[Track], poses: np.ndarray) -> dict[int, int]:
    """Return a map from persons to their tracks, at most MATCH_WITHIN apart."""
    if not tracks:
        return {}
    found = np.array([track.face.camera_from_face[:3, 3] for track in tracks])
    gaps = np.linalg.norm(poses[:, None, :3, 3] - found, axis=-1)
    return match_pairs(gaps, np.full(len(poses), MATCH_WITHIN))


def _note(run: PersonRun, i: int, track: Track) -> None:
    face, truth = track.face, run.poses[i]
    run.ids[i] = track.id
    run.rotation[i] = vector_from_rotation(
        face.camera_from_face[:3, :3].astype(float) @ truth[:3, :3].T)
    run.position[i] = face.camera_from_face[:3, 3] - truth[:3, 3]
    axes = error_axes(face.camera_from_face)
    error = axes.T @ np.concatenate([run.position[i], run.rotation[i]])
    run.sigmas[i] = error / axis_std(face.pose_covariance, axes)
    run.expression[i] = face.expression
    if i % SURFACE_EVERY == 0:
        run.surface[i] = surface_errors(face.vertices, run.stream.vertices_camera(i, run.person))


def surface_errors(vertices: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Return the mean distances, mm, of a mesh (V, 3) to the true surface.

    They are those of all vertices and of the inner face, as posed; of all, after rigid alignment.
    """
    triangles = FaceModel.load().triangles
    posed, aligned = (1000 * closest_points(points, truth, triangles, candidates=5).distance
                      for points in (vertices, rigidly_aligned(vertices, truth)))
    return float(posed.mean()), float(posed[inner_face()].mean()), float(aligned.mean())
