# SPDX-License-Identifier: Apache-2.0
"""The times of images: detection of unreliable stamps, and their replacement.

Tracks need times that increase, and a transform of one frame may be published once per stamp.
Cameras and recordings give stamps that stand still, repeat, jump or are not set.
"""
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

FLOW_NS = 250_000_000  # a longer step between two stamps may be an error of one stamp
STEP_NS = 33_333_333  # between images whose times are unknown: 30 Hz
AHEAD_NS = 500_000_000  # stamps further ahead of the time of arrival are not credible
ASIDE_IMAGES = 10  # for which the stamps before a jump may be resumed
MOST_USED = 100  # used stamps that are remembered after a backward jump, the next ones
# Images in a row that are skipped before the fault counts as a property of the stream.
PATIENCE = {'repeated': 30, 'standing': 2, 'late': 2, 'unset': 9, 'ahead': 1}


class Change(Enum):
    """The effect of an image's stamp on the earlier tracks."""

    NONE = auto()
    JUMP = auto()  # time jumps ahead; the tracks go on
    RESTART = auto()  # another recording or a loop: the tracks end
    RESUME = auto()  # the last jump was an error: the tracks before it go on


@dataclass(frozen=True)
class ImageTime:
    """The time of an image, or the reason for skipping it."""

    stamp_ns: int  # its stamp, or the time that replaces it
    fault: str = ''  # why to skip it: 'repeated', 'late', 'unset' or 'ahead'
    change: Change = Change.NONE
    timed: bool = True  # whether the difference to the previous image's time is known
    kind: str = ''  # of the note
    note: str = ''  # a sentence about faulty stamps


NOTES = {
    'repeated': 'images come more than once: copies with the same stamp are skipped; is the topic '
                'relayed onto itself, or does the driver repeat images?',
    'late': 'images come late, with stamps before that of the newest image: they are skipped; '
            'expected images in the order of their stamps from one publisher',
    'ahead': 'the stamp of an image jumped ahead of this clock: the image is skipped; '
             'expected stamps of the camera driver that follow the clock',
    'unset': 'an image without a valid stamp came among stamped ones: it is skipped; '
             'expected the time of exposure in each header',
    'jump': 'the stamp of an image jumped and the next one came back: check the clock of the '
            'camera driver',
    'restart': 'stamps fell back: a new start, faces get new ids; expected when a recording '
               'starts again, else check the clock of the camera driver',
    'standing': 'stamps of the images stand still: the time of arrival is used instead; '
                'expected the time of exposure in each header; set it in the camera driver',
    'never set': 'images have no valid stamp: the time of arrival is used instead; '
                 'expected the time of exposure in each header; set it in the camera driver',
    'loops': 'stamps of the images fall back: a new start, and the time of arrival is used '
             'instead; is a short recording looped, or was the clock of the camera set back?',
}


class StampMonitor:
    """Gives each image of one stream a time; the same calls give the same times.

    Accepted times increase strictly between two restarts, so none is used twice. A persistent fault
    never stops the stream: the time of arrival replaces the stamps, or a count of images where it
    is unknown, until stamps have increased for `jump_s` again.
    """

    def __init__(self, jump_s: float = 1.0):
        """Start a stream.

        :param jump_s: an image whose stamp is at least so many seconds older than the newest one
            means a restart; a smaller step back means a late image.
        """
        self.jump_s = jump_s
        self.reset()

    def reset(self) -> None:
        """Start another stream."""
        self._time_ns: int | None = None  # of the newest accepted image
        self._newest_ns: int | None = None  # the newest stamp
        self._aside_ns: int | None = None  # the newest stamp before the last jump
        self._since_jump: list[int] = []  # the first stamps after the last jump
        self._used: set[int] = set()  # stamps of images before a jump back
        self._content: bytes | None = None  # of the image before
        self._skipped = 0  # images in a row
        self._by_stamps = self._timed = True
        self._steady_since_ns: float = -np.inf  # where stamps began to increase steadily

    def check(self, stamp_ns: int | None, content: bytes | None = None,
              arrival_ns: int | None = None) -> ImageTime:
        """Return the time of the next image.

        :param stamp_ns: of the image; None if it has no valid one.
        :param content: a :func:`fingerprint` of the image; None if equal stamps mean different
            images.
        :param arrival_ns: when the image arrived or was recorded, by a clock that keeps running.
        """
        if self._by_stamps:
            time = self._judge(stamp_ns, content, arrival_ns)
        else:
            time = self._replace(stamp_ns, arrival_ns)
        self._content = content
        return time

    @property
    def source(self) -> str:
        """The origin of the times: 'stamps', 'arrival' or 'count', a count of images."""
        return 'stamps' if self._by_stamps else 'arrival' if self._timed else 'count'

    @property
    def _jump_ns(self) -> float:
        return self.jump_s * 1e9

    def _judge(self, stamp_ns, content, arrival_ns) -> ImageTime:
        """Return the time of an image while stamps are relied on."""
        newest_ns = self._newest_ns
        if stamp_ns is None:
            if newest_ns is None:
                return self._distrust(None, arrival_ns, '')
            return self._skip('unset', stamp_ns, arrival_ns)
        if newest_ns is None:
            return self._accept(stamp_ns)
        while stamp_ns in self._used:
            stamp_ns += 1  # so that no time is used twice
        step_ns = stamp_ns - newest_ns
        if 0 < step_ns <= FLOW_NS:
            return self._accept(stamp_ns)
        if step_ns == 0:
            if content is None:
                return self._distrust(stamp_ns, arrival_ns, 'standing')
            same = content == self._content
            return self._skip('repeated' if same else 'standing', stamp_ns, arrival_ns)
        if self._continues_aside(stamp_ns):
            # A single image after the jump means an error, several mean a second clock.
            self._aside_ns = newest_ns if len(self._since_jump) > 1 else None
            self._used = set(sorted(used for used in {*self._used, *self._since_jump}
                                    if used > stamp_ns)[:MOST_USED])
            self._since_jump = []
            return self._accept(stamp_ns, Change.RESUME, 'jump')
        if step_ns > 0:
            if (arrival_ns is not None and not self._skipped
                    and newest_ns <= arrival_ns + AHEAD_NS < stamp_ns):
                return self._skip('ahead', stamp_ns, arrival_ns)
            self._aside_ns, self._since_jump = newest_ns, []
            return self._accept(stamp_ns, Change.JUMP)
        if -step_ns > self._jump_ns:
            self._aside_ns, self._since_jump = newest_ns, []
            return self._accept(stamp_ns, Change.RESTART, 'restart')
        return self._skip('late', stamp_ns, arrival_ns)

    def _continues_aside(self, stamp_ns: int) -> bool:
        """Return whether a stamp follows the one before the last jump and not the newest one."""
        aside_ns, newest_ns = self._aside_ns, self._newest_ns
        return (aside_ns is not None and newest_ns is not None
                and 0 < stamp_ns - aside_ns <= self._jump_ns
                and not aside_ns < newest_ns < stamp_ns)

    def _accept(self, stamp_ns: int, change: Change = Change.NONE, kind: str = '') -> ImageTime:
        self._time_ns = self._newest_ns = stamp_ns
        self._skipped = 0
        if len(self._since_jump) < ASIDE_IMAGES:
            self._since_jump.append(stamp_ns)
        else:
            self._aside_ns = None
        return ImageTime(stamp_ns, '', change, True, kind, NOTES.get(kind, ''))

    def _skip(self, fault: str, stamp_ns, arrival_ns) -> ImageTime:
        """Skip an image, unless too many were skipped in a row."""
        self._skipped += 1
        if self._skipped > PATIENCE[fault]:
            kinds = {'late': 'loops', 'unset': 'never set'}
            return self._distrust(stamp_ns, arrival_ns, kinds.get(fault, 'standing'))
        kind = 'repeated' if fault == 'standing' else fault
        return ImageTime(self._time_ns or 0, kind, kind=kind, note=NOTES[kind])

    # Without stamps -----------------------------------------------------------------------------

    def _distrust(self, stamp_ns, arrival_ns, kind: str) -> ImageTime:
        """Use the time of arrival from now on."""
        self._by_stamps = False
        self._aside_ns = None
        if stamp_ns is not None:
            self._newest_ns = self._steady_since_ns = stamp_ns
        return self._arrived(arrival_ns, kind)

    def _replace(self, stamp_ns, arrival_ns) -> ImageTime:
        """Return the time of an image while stamps are not relied on."""
        if stamp_ns is not None:
            before_ns, self._newest_ns = self._newest_ns, stamp_ns
            if before_ns is not None and not 0 < stamp_ns - before_ns <= self._jump_ns:
                self._steady_since_ns = stamp_ns
            overlap_ns = self._time_ns - stamp_ns
            steady = stamp_ns - self._steady_since_ns > self._jump_ns
            if steady and not FLOW_NS < overlap_ns <= self._jump_ns:
                return self._rely_on_stamps(stamp_ns, overlap_ns)
        never_set = stamp_ns is None and self._newest_ns is None
        return self._arrived(arrival_ns, 'never set' if never_set else '')

    def _rely_on_stamps(self, stamp_ns: int, overlap_ns: int) -> ImageTime:
        """Return to stamps without a step back in time, or restart if the step is long."""
        if 0 <= overlap_ns <= FLOW_NS:
            return ImageTime(self._time_ns, 'late', kind='late')
        self._by_stamps, self._since_jump = True, []
        if overlap_ns > 0:
            return self._accept(stamp_ns, Change.RESTART, 'restart')
        return self._accept(stamp_ns)

    def _arrived(self, arrival_ns: int | None, kind: str = '') -> ImageTime:
        self._timed = arrival_ns is not None and (self._time_ns is None
                                                  or arrival_ns > self._time_ns)
        self._time_ns = arrival_ns if self._timed else (self._time_ns or 0) + STEP_NS
        self._skipped = 0
        return ImageTime(self._time_ns, '', Change.NONE, self._timed, kind, NOTES.get(kind, ''))


def is_valid_stamp(stamp) -> bool:
    """Return whether a builtin_interfaces/Time was set and can be a time."""
    return stamp.sec >= 0 and stamp.nanosec < 10 ** 9 and bool(stamp.sec or stamp.nanosec)


def fingerprint(depth: np.ndarray) -> bytes:
    """Return every eighth pixel of every eighth row: noise makes all images of a camera differ."""
    return depth[::8, ::8].tobytes()
