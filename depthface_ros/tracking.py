# SPDX-License-Identifier: Apache-2.0
"""Which face is which: ids that stay with a person from image to image, in message time."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from depthface_ros.estimator import Face
from depthface_ros.settings import setting


@dataclass(frozen=True)
class TrackerConfig:
    """When a face gets an id and when it loses it."""

    # Two sightings in three images make a face public: a false alarm seldom strikes twice in one
    # place, and at 30 Hz the second image costs 33 ms. Every id that comes or goes makes all its
    # readers subscribe or unsubscribe, so it must be rare.
    sightings: int = setting(2, 'Images that must show a face before it gets an id.', 1, 100)
    keep_s: float = setting(0.3, 'Seconds for which an id outlives the last sight of its face.',
                            0.0, 60.0)
    keep_images: int = setting(2, 'Images for which it does, at least: for slow cameras.', 0, 100)
    # Heads closer than this to where they were are the same one: measurement noise, and the speed
    # of a person who walks quickly.
    reach: float = setting(0.10, 'Metres a face may be off from one image to the next.', 0.0, 1.0)
    speed: float = setting(2.0, 'Metres per second a face may move besides.', 0.0, 10.0)
    max_reach: float = setting(0.40, 'Metres of both together, at most.', 0.0, 2.0)
    time_jump_s: float = setting(1.0, 'Seconds back in time that mean a bag starts again; an '
                                 'image older than the newest by less came late.', 0.0, 60.0)


@dataclass(frozen=True, eq=False)
class Track:
    """A face with its id. It was last seen at `stamp_ns`, which may be before the newest image."""

    id: str  # 'f00001' and so on, never used twice; '' until the track is public
    face: Face
    stamp_ns: int
    sightings: int
    misses: int = 0  # images since then

    @property
    def seen(self) -> bool:
        """Whether the newest image shows it."""
        return self.misses == 0


class Tracker:
    """Gives faces ids. The same images give the same ids; nothing depends on the wall clock."""

    def __init__(self, config: TrackerConfig = TrackerConfig()):
        self.config = config
        self._tracks: list[Track] = []  # oldest first
        self._next_id = 1
        self._newest_ns: int | None = None

    def update(self, faces: list[Face], stamp_ns: int) -> list[Track]:
        """Match the faces of one image to the tracks; returns the public tracks, oldest first.

        A public track that this image does not show is kept for a moment: see `Track.seen`.
        An image a little older than the newest one changes nothing; a jump further back in time,
        as of a bag that loops, drops all tracks.
        """
        if self._newest_ns is not None and stamp_ns < self._newest_ns:
            if self._newest_ns - stamp_ns <= self.config.time_jump_s * 1e9:
                return self._public()
            self.reset()
        self._newest_ns = stamp_ns

        matches = self._match(faces, stamp_ns)
        tracks = []
        for i, track in enumerate(self._tracks):
            if i in matches:
                tracks.append(self._sighted(track.id, faces[matches[i]], stamp_ns,
                                            track.sightings + 1))
            else:
                tracks.append(replace(track, misses=track.misses + 1))
        tracks += [self._sighted('', face, stamp_ns, 1)
                   for j, face in enumerate(faces) if j not in matches.values()]
        self._tracks = [track for track in tracks if not self._lost(track)]
        return self._public()

    def reset(self) -> None:
        """Forget all tracks; later faces get new ids."""
        self._tracks = []
        self._newest_ns = None

    def _public(self) -> list[Track]:
        return [track for track in self._tracks if track.id]

    def _sighted(self, id_or_empty: str, face: Face, stamp_ns: int, sightings: int) -> Track:
        if not id_or_empty and sightings >= self.config.sightings:
            id_or_empty = f'f{self._next_id:05d}'
            self._next_id += 1
        return Track(id_or_empty, face, stamp_ns, sightings)

    def _lost(self, track: Track) -> bool:
        if not track.id:
            return track.misses > 1
        age_s = (self._newest_ns - track.stamp_ns) * 1e-9
        return age_s > self.config.keep_s and track.misses > self.config.keep_images

    def _match(self, faces: list[Face], stamp_ns: int) -> dict[int, int]:
        """Index of the track -> index of its face: nearest pairs of sellions first."""
        if not self._tracks or not faces:
            return {}
        before = np.array([track.face.camera_from_face[:3, 3] for track in self._tracks])
        now = np.array([face.camera_from_face[:3, 3] for face in faces])
        distance = np.linalg.norm(before[:, None] - now[None], axis=-1)
        age_s = np.array([(stamp_ns - track.stamp_ns) * 1e-9 for track in self._tracks])
        reach = np.minimum(self.config.reach + self.config.speed * age_s, self.config.max_reach)
        matches: dict[int, int] = {}
        for flat in np.argsort(distance, axis=None, kind='stable'):
            i, j = divmod(int(flat), len(faces))
            if distance[i, j] < reach[i] and i not in matches and j not in matches.values():
                matches[i] = j
        return matches
