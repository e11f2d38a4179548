# SPDX-License-Identifier: Apache-2.0
"""Tracks of faces: ids that persist from image to image, in message time."""
from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from depthface_ros.estimation.types import Face, HeadCandidates, PredictedFaces
from depthface_ros.geometry.crop import HEAD_CENTRE_FACE, points_camera
from depthface_ros.settings import setting
from depthface_ros.tracking.assignment import match_pairs
from depthface_ros.tracking.motion import Motion
from depthface_ros.tracking.smoothing import SmoothingConfig

USUAL_S = 1.0  # s, after which what covers a face is usual
USUAL_SHARE = 0.6  # of the usual support, below which something covers a face
LEAST_SUPPORT, TINY = 0.01, 1e-6  # m and rad


@dataclass(frozen=True)
class TrackerConfig:
    """When faces get and lose ids, and how far they may move between images."""

    search_s: float = setting(0.2, 'Seconds between searches of the whole image while faces are '
                              'tracked, so a new face is noticed at most this much later; 0 '
                              'searches every image. Without faces, and while one is lost or '
                              'new, every image is searched.', 0.0, 10.0)

    verify_s: float = setting(0.1, 'Seconds between images in which the pose network looks at '
                              'tracked faces again; between them they are followed from their '
                              'predicted poses, which takes half of the time. 0: in every image. '
                              'Those of noisy images are never followed.',
                              0.0, 10.0)

    # A face is public after two detections in three images. False detections rarely repeat at one
    # place, and at 30 Hz the second image costs 33 ms. Each new or lost id makes its readers
    # subscribe or unsubscribe, so it must be rare.
    sightings: int = setting(2, 'Images that must show a face before it gets an id.', 1, 100)
    keep_s: float = setting(0.3, 'Seconds for which an id outlives the last image of its face.',
                            0.0, 60.0)
    keep_images: int = setting(2, 'Missed images for which it does, at least; if stamps stand '
                               'still, they alone count.', 0, 100)
    # A head closer than this to a predicted one is the same head. Covers errors of poses, and a
    # person who starts to walk.
    reach: float = setting(0.10, 'Metres a head may be from where it is expected.', 0.0, 1.0)
    speed: float = setting(2.0, 'Metres per second by which its velocity may change besides.',
                           0.0, 10.0)
    max_reach: float = setting(0.40, 'Metres of both together, at most.', 0.0, 2.0)
    time_jump_s: float = setting(1.0, 'Seconds back in time that mean a recording starts again; '
                                 'an image older than the newest one by less came late.', 0.0,
                                 60.0)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)


@dataclass(frozen=True, eq=False)
class Track:
    """A face with its id, from the latest image that shows it, at `stamp_ns`."""

    id: str  # 'f00001' and so on, never used twice; '' until the track is public
    face: Face
    stamp_ns: int
    sightings: int
    misses: int = 0  # later images without the face
    # By default both begin with the face.
    motion: Motion | None = None
    usual_support: float = math.nan  # mean of `Face.support` over USUAL_S

    def __post_init__(self):
        if self.motion is None:
            object.__setattr__(self, 'motion', Motion.begin(
                self.face.camera_from_face, pose_std(self.face, self.face.support)))
        if math.isnan(self.usual_support):
            object.__setattr__(self, 'usual_support', self.face.support)

    @property
    def seen(self) -> bool:
        """Return whether the newest image shows the face."""
        return self.misses == 0

    @property
    def twist(self) -> np.ndarray | None:
        """Velocity of the face's origin, m/s, and angular velocity, rad/s, camera axes: (6,).

        None of a face that one image has shown.
        """
        return self.motion.twist if self.sightings > 1 else None

    @property
    def twist_covariance(self) -> np.ndarray | None:
        """Covariance (6, 6) of :attr:`twist`."""
        return self.motion.twist_covariance if self.sightings > 1 else None

    def predicted_pose(self, stamp_ns: int) -> np.ndarray:
        """Predict camera_from_face (4, 4) float64 at a time."""
        return self.motion.predicted((stamp_ns - self.stamp_ns) * 1e-9)

    def predicted_centre(self, stamp_ns: int) -> np.ndarray:
        """Predict the head centre (3,) at a time, metres, camera frame."""
        return points_camera(self.predicted_pose(stamp_ns)[None], HEAD_CENTRE_FACE)[0]


def pose_std(face: Face, usual_support: float) -> tuple[float, float]:
    """Return the sigmas of position, m, and rotation, rad, per axis, as far as the face is seen.

    What covers a face is fitted in its place, so sigmas rise where less than usual lies on the
    measured surface.
    """
    share = max(face.support, LEAST_SUPPORT) / max(USUAL_SHARE * usual_support, LEAST_SUPPORT)
    factor = 1 / min(share, 1.0) ** 2
    return max(factor * face.position_std, TINY), max(factor * face.rotation_std, TINY)


def is_covered(face: Face, usual_support: float) -> bool:
    """Return whether something covers a face: much less of it than usual lies on the surface."""
    return face.support < USUAL_SHARE * usual_support


def in_image(tracks: list[Track], stamp_ns: int) -> list[Track]:
    """Return the tracks that the newest image shows, or none if its stamp is another one."""
    return [track for track in tracks if track.seen and track.stamp_ns == stamp_ns]


class Tracker:
    """Gives faces ids. The same faces give the same ids; the wall clock is not used."""

    def __init__(self, config: TrackerConfig = TrackerConfig(),
                 numbers: Iterator[int] | None = None):
        """Start without faces.

        :param numbers: of the ids, all different: 1 becomes f00001.
        """
        self.config = config
        self._numbers = count(1) if numbers is None else numbers
        self.tracks: list[Track] = []  # oldest first, public or not

    @property
    def settled(self) -> bool:
        """Return whether there are tracks, all of them public and seen."""
        return bool(self.tracks) and all(track.id and track.seen for track in self.tracks)

    def predicted_faces(self, stamp_ns: int) -> PredictedFaces:
        """Predict the faces of the public tracks at a time."""
        tracks = self.public
        return PredictedFaces(np.array([track.predicted_pose(stamp_ns) for track in tracks]),
                              np.array([track.face.confidence for track in tracks]),
                              np.array([track.face.detector_score for track in tracks]),
                              np.array([track.face.network_std for track in tracks]))

    def head_candidates(self, stamp_ns: int) -> HeadCandidates:
        """Predict the heads of the public tracks at a time."""
        tracks = self.public
        centres = np.array([track.predicted_centre(stamp_ns) for track in tracks]).reshape(-1, 3)
        scores = np.array([track.face.detector_score for track in tracks])
        return HeadCandidates(centres, scores, tracked=True)

    def update(self, faces: list[Face], stamp_ns: int, timed: bool = True) -> list[Track]:
        """Match the faces of one image to the tracks; return the public tracks, oldest first.

        A public track that this image does not show is kept for a short time: see `Track.seen`.

        :param stamp_ns: not before the previous image's.
        :param timed: whether stamps measure time; otherwise missed images alone end a track.
        """
        matches = self._match(faces, stamp_ns)
        tracks = []
        for i, track in enumerate(self.tracks):
            if i in matches:
                tracks.append(self._sighted(faces[matches[i]], stamp_ns, track))
            else:
                tracks.append(replace(track, misses=track.misses + 1))
        tracks += [self._sighted(face, stamp_ns) for j, face in enumerate(faces)
                   if j not in matches.values()]
        self.tracks = [track for track in tracks if not self._is_lost(track, stamp_ns, timed)]
        return self.public

    @property
    def public(self) -> list[Track]:
        """The tracks that have an id, oldest first."""
        return [track for track in self.tracks if track.id]

    def _sighted(self, face: Face, stamp_ns: int, before: Track | None = None) -> Track:
        if before is None:
            track = Track('', face, stamp_ns, 1)
        else:
            seconds = (stamp_ns - before.stamp_ns) * 1e-9
            motion = before.motion.updated(
                face.camera_from_face, pose_std(face, before.usual_support), seconds,
                self.config.smoothing.acceleration, is_covered(face, before.usual_support))
            support = before.usual_support - math.expm1(-seconds / USUAL_S) * (
                face.support - before.usual_support)
            track = Track(before.id, face, stamp_ns, before.sightings + 1, 0, motion, support)
        if track.id or track.sightings < self.config.sightings:
            return track
        return replace(track, id=f'f{next(self._numbers):05d}')

    def _is_lost(self, track: Track, stamp_ns: int, timed: bool) -> bool:
        if not track.id:
            return track.misses > 1
        overdue = not timed or (stamp_ns - track.stamp_ns) * 1e-9 > self.config.keep_s
        return overdue and track.misses > self.config.keep_images

    def _match(self, faces: list[Face], stamp_ns: int) -> dict[int, int]:
        """Return a map from indices of tracks to indices of their faces."""
        if not self.tracks or not faces:
            return {}
        predicted = np.array([track.predicted_centre(stamp_ns) for track in self.tracks])
        centres = np.array([face.head_centre for face in faces])
        age_s = np.array([(stamp_ns - track.stamp_ns) * 1e-9 for track in self.tracks])
        reach = np.minimum(self.config.reach + self.config.speed * age_s, self.config.max_reach)
        return match_pairs(np.linalg.norm(predicted[:, None] - centres, axis=-1), reach)
