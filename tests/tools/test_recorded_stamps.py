# SPDX-License-Identifier: Apache-2.0
"""Recordings whose stamps stand still, repeat, jump or are not set show the same people."""
from __future__ import annotations

import numpy as np
import pytest
from followed import Followed

from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.estimation.types import Face, HeadCandidates
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.frame import Frame
from depthface_ros.io.rejections import Rejections
from depthface_ros.tools.offline import run_recording

CAMERA = Intrinsics(50.0, 50.0, 32.0, 24.0)
NOW, STEP = 10 ** 18, 10 ** 8
STAMPS = [NOW + i * STEP for i in range(40)]


class People(Followed):
    """Stands in for the networks: pixel (0, 0) holds the number of people."""

    config = EstimatorConfig()
    nobody = Face(np.eye(4, dtype=np.float32), np.zeros((1, 3), np.float32),
                  np.zeros(52, np.float32), 0.9, 0.1, 0.01)

    def find_heads(self, depth, intrinsics):
        return HeadCandidates(np.zeros((0, 3), np.float32))

    def __call__(self, depth, intrinsics, heads=None, stage_done=None):
        pose = np.repeat(np.eye(4, dtype=np.float32)[None], int(depth[0, 0]), axis=0)
        pose[:, 0, 3], pose[:, 2, 3] = np.arange(len(pose)), 1
        return [Face(one, one[None, :3, 3].copy(), np.zeros(52, np.float32), 0.9, 0.1, 0.01)
                for one in pose]


class Recorded:
    """Yield twenty images of two people, then twenty without, with noise; 10 Hz."""

    stamped, count = True, None

    def __init__(self, stamps, recorded=True, copies=1):
        self.stamps, self.recorded, self.copies = stamps, recorded, copies
        self.rejections = Rejections()

    def __iter__(self):
        rng = np.random.default_rng(0)
        for i, stamp in enumerate(self.stamps):
            depth = rng.integers(900, 1100, (48, 64)).astype(np.uint16)
            depth[0, 0] = 2 * (i < 20)
            for copy in range(self.copies):
                yield Frame(stamp or NOW + i * STEP, depth, CAMERA, str(i), stamped=bool(stamp),
                            recorded_ns=NOW + i * STEP + copy if self.recorded else None)


class Shown:
    """Collects times and ids as files would hold them."""

    def __init__(self):
        self.rows = []

    def write(self, frame, tracks):
        self.rows.append((frame.stamp_ns, {track.id for track in tracks if track.seen}))

    def close(self):
        self.times = [time for time, ids in self.rows if ids]


def one(at, change):
    return [change(stamp) if i in at else stamp for i, stamp in enumerate(STAMPS)]


CASES = {
    'good': (STAMPS, {}),
    'never set': ([0] * 40, {}),
    'all alike': ([NOW - 7] * 40, {'repeated': 2}),
    'now and then not set': (one((5, 9, 12, 25), lambda stamp: 0), {'unset': 4}),
    'ahead by a second': (one((5, 12), lambda stamp: stamp + 10 ** 9), {'ahead': 2}),
    'back by an hour': (one((5, 12), lambda stamp: stamp - 36 * 10 ** 11), {}),
    'a loop of half a second': ([NOW + i % 5 * STEP for i in range(40)], {'late': 2}),
}


@pytest.mark.parametrize('recorded', [True, False])
@pytest.mark.parametrize('name', CASES)
def test_two_people_are_two_ids_and_leave(name, recorded):
    stamps, skipped = CASES[name]
    if name == 'ahead by a second' and not recorded:
        skipped = {}  # either of two times may be right
    shown = Shown()
    summary = run_recording(Recorded(stamps, recorded), People(), [shown])
    assert summary.ids == 2 and summary.skipped == skipped
    assert summary.frames == 40 - sum(skipped.values())
    assert 13 <= summary.frames_with_faces <= 19 and len(set(shown.times)) == len(shown.times)
    assert not any(ids for _, ids in shown.rows[20:])


def test_each_image_twice_counts_once():
    shown = Shown()
    summary = run_recording(Recorded(STAMPS, copies=2), People(), [shown])
    assert (summary.frames, summary.ids, summary.skipped) == (40, 2, {'repeated': 40})
    assert len(set(shown.times)) == len(shown.times) == 19
