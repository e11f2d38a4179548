# SPDX-License-Identifier: Apache-2.0
"""Images that cannot be read: each kind is reported once, all are counted."""
from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field

from depthface_ros.io.errors import as_line

MAX_KINDS = 20  # hostile recordings could have a kind for each image
OTHERS = 'other reasons'
LOG = logging.getLogger('depthface')


@dataclass
class Rejections:
    """Counts of rejected images by reason, and of notes that are reported once."""

    count: int = 0
    first: str = ''  # reason and place of the first rejected image
    reasons: dict[str, int] = field(default_factory=dict)
    _kinds: dict[str, str] = field(default_factory=dict)  # kind -> its first reason
    _noted: set[str] = field(default_factory=set)

    def reject(self, reason: str, place: str, count: int = 1) -> None:
        """Count an image, or several; report the first one of each kind."""
        reason, place = as_line(reason), as_line(place)
        self.count += count
        self.first = self.first or f'{place}: {reason}'
        kind = _kind(reason)
        if kind not in self._kinds and len(self._kinds) == MAX_KINDS:
            kind = OTHERS
        if kind not in self._kinds:
            self._kinds[kind] = OTHERS if kind == OTHERS else reason
            LOG.warning('%s: %s; images like this are skipped', place, reason)
            LOG.debug('traceback', exc_info=True)
        first = self._kinds[kind]
        self.reasons[first] = self.reasons.get(first, 0) + count

    def note(self, text: str) -> None:
        """Report what costs no image, or an unknown number of them, once per kind."""
        text = as_line(text)
        kind = _kind(text)
        if kind not in self._noted and len(self._noted) < MAX_KINDS:
            self._noted.add(kind)
            LOG.warning('%s', text)

    def require_some(self, images: int) -> None:
        """Raise ValueError with the first reason where all images were rejected."""
        if images or not self.count:
            return
        if self.count == 1:
            raise ValueError(self.first)
        raise ValueError(f'none of {self.count} images can be read; the first: {self.first}')

    def summary(self, images: int) -> str:
        """Return "N of M images rejected: 2 x why", or an empty text.

        :param images: those that were read, without the rejected ones.
        """
        if not self.count:
            return ''
        reasons = '; '.join(f'{count} x {reason}' for reason, count in self.reasons.items())
        return f'{self.count} of {self.count + images} images rejected: {reasons}'


def _kind(reason: str) -> str:
    """Return a reason without the numbers that differ from image to image."""
    return re.sub(r'-?\d+(\.\d+)?', '#', reason)
