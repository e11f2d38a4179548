# SPDX-License-Identifier: Apache-2.0
"""Which face is which: ids that stay with a person from image to image, in message time."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from depthface_ros.estimation.types import Face, HeadCandidates
from depthface_ros.settings import setting
from depthface_ros.tracking.assignment import pairs
from depthface_ros.tracking.smoothing import SmoothingConfig

VELOCITY_S = 0.15  # s; a measured velocity counts for that long: one from two images is noisy
MOMENTUM_S = 0.5  # s; a head that is out of sight is expected to slow down with this time constant


@dataclass(frozen=True)
class TrackerConfig:
    """How faces are followed: when they get ids and when they lose them."""

    search_s: float = setting(0.2, 'Seconds between searches of the whole image while faces are '
                              'tracked, so a new face is noticed at most this much later; 0 '
                              'searches every image. Without faces, and while one is lost or '
                              'new, every image is searched.', 0.0, 10.0)

    # Two sightings in three images make a face public: a false alarm seldom strikes twice in one
    # place, and at 30 Hz the second image costs 33 ms. Every id that comes or goes makes all its
    # readers subscribe or unsubscribe, so it must be rare.
    sightings: int = setting(2, 'Images that must show a face before it gets an id.', 1, 100)
    keep_s: float = setting(0.3, 'Seconds for which an id outlives the last sight of its face.',
                            0.0, 60.0)
    keep_images: int = setting(2, 'Images for which it does, at least: for slow cameras.', 0, 100)
    # A head closer than this to where one is expected is that one: errors of poses, and a person
    # who starts to walk.
    reach: float = setting(0.10, 'Metres a head may be from where it is expected.', 0.0, 1.0)
    speed: float = setting(2.0, 'Metres per second by which its velocity may change besides.',
                           0.0, 10.0)
    max_reach: float = setting(0.40, 'Metres of both together, at most.', 0.0, 2.0)
    time_jump_s: float = setting(1.0, 'Seconds back in time that mean a bag starts again; an '
                                 'image older than the newest by less came late.', 0.0, 60.0)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)


@dataclass(frozen=True, eq=False)
class Track:
    """A face with its id. It was last seen at `stamp_ns`, which may be before the newest image."""

    id: str  # 'f00001' and so on, never used twice; '' until the track is public
    face: Face
    stamp_ns: int
    sightings: int
    misses: int = 0  # images since then
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(3))  # m/s, of the head centre

    @property
    def seen(self) -> bool:
        """Whether the newest image shows it."""
        return self.misses == 0

    def expected(self, stamp_ns: int) -> np.ndarray:
        """(3,) metres, camera frame: where the head centre should be at that time."""
        age_s = (stamp_ns - self.stamp_ns) * 1e-9
        return self.face.head_centre - self.velocity * MOMENTUM_S * np.expm1(-age_s / MOMENTUM_S)


def in_image(tracks: list[Track], stamp_ns: int) -> list[Track]:
    """The tracks that an image with this stamp shows; none if it came late."""
    return [track for track in tracks if track.stamp_ns == stamp_ns]


class Tracker:
    """Gives faces ids. The same faces give the same ids; nothing depends on the wall clock."""

    def __init__(self, config: TrackerConfig = TrackerConfig(),
                 numbers: Iterator[int] | None = None):
        """Start without faces; the numbers, all different, become ids: 1 becomes f00001."""
        self.config = config
        self._numbers = count(1) if numbers is None else numbers
        self._tracks: list[Track] = []  # oldest first

    @property
    def settled(self) -> bool:
        """Whether there are faces, all of them public and in the newest image."""
        return bool(self._tracks) and all(track.id and track.seen for track in self._tracks)

    def heads(self, stamp_ns: int) -> HeadCandidates:
        """The heads of the public tracks, where they should be at that time."""
        tracks = self._public()
        centres = np.array([track.expected(stamp_ns) for track in tracks]).reshape(-1, 3)
        scores = np.array([track.face.detector_score for track in tracks])
        return HeadCandidates(centres, scores, tracked=True)

    def update(self, faces: list[Face], stamp_ns: int) -> list[Track]:
        """Match the faces of one image to the tracks; returns the public tracks, oldest first.

        A public track that this image does not show is kept for a moment: see `Track.seen`.

        :param stamp_ns: not before that of the image before.
        """
        matches = self._match(faces, stamp_ns)
        tracks = []
        for i, track in enumerate(self._tracks):
            if i in matches:
                tracks.append(self._sighted(faces[matches[i]], stamp_ns, track))
            else:
                tracks.append(replace(track, misses=track.misses + 1))
        tracks += [self._sighted(face, stamp_ns) for j, face in enumerate(faces)
                   if j not in matches.values()]
        self._tracks = [track for track in tracks if not self._lost(track, stamp_ns)]
        return self._public()

    def reset(self) -> None:
        """Forget all tracks; later faces get new ids."""
        self._tracks = []

    def _public(self) -> list[Track]:
        return [track for track in self._tracks if track.id]

    def _sighted(self, face: Face, stamp_ns: int, before: Track | None = None) -> Track:
        track = Track(before.id, face, stamp_ns, before.sightings + 1,
                      velocity=_velocity(before, face, stamp_ns)) if before else Track(
                          '', face, stamp_ns, 1)
        if track.id or track.sightings < self.config.sightings:
            return track
        return replace(track, id=f'f{next(self._numbers):05d}')

    def _lost(self, track: Track, stamp_ns: int) -> bool:
        if not track.id:
            return track.misses > 1
        age_s = (stamp_ns - track.stamp_ns) * 1e-9
        return age_s > self.config.keep_s and track.misses > self.config.keep_images

    def _match(self, faces: list[Face], stamp_ns: int) -> dict[int, int]:
        """Index of the track -> index of its face."""
        if not self._tracks or not faces:
            return {}
        expected = np.array([track.expected(stamp_ns) for track in self._tracks])
        centres = np.array([face.head_centre for face in faces])
        age_s = np.array([(stamp_ns - track.stamp_ns) * 1e-9 for track in self._tracks])
        reach = np.minimum(self.config.reach + self.config.speed * age_s, self.config.max_reach)
        return pairs(np.linalg.norm(expected[:, None] - centres, axis=-1), reach)


def _velocity(before: Track, face: Face, stamp_ns: int) -> np.ndarray:
    """Low-pass filtered, m/s."""
    age_s = (stamp_ns - before.stamp_ns) * 1e-9
    if age_s <= 0:
        return before.velocity
    measured = (face.head_centre - before.face.head_centre) / age_s
    return before.velocity - np.expm1(-age_s / VELOCITY_S) * (measured - before.velocity)
