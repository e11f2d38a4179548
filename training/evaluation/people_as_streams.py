# SPDX-License-Identifier: Apache-2.0
"""Single images of real people as streams: what a track knows of its person, on real frames."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depthface_ros.estimation.types import Face
from depthface_ros.tracking.smoothing import FaceSmoother
from training.adapt.datasets import Labelled

STEP_NS = 500_000_000  # between images, so that filters of motion follow each image at once
SEED = 0  # of the order of a person's images


def as_streams(pairs: Sequence[tuple[Labelled, list[Face]]]) -> list[tuple[Labelled, list[Face]]]:
    """Return images with their first faces as tracks of their people would publish them.

    The images of each person are filtered twice in a random order. Faces of the second time count:
    by then the track has seen the person. Heads jump between these images, so poses are those of
    the single images; mesh and expression are the track's.
    """
    rng, streams = np.random.default_rng(SEED), list(pairs)
    for person in sorted({each.person for each, _ in pairs}):
        images = rng.permutation([i for i, (each, faces) in enumerate(pairs)
                                  if each.person == person and faces])
        smoother = None
        for number, i in enumerate(np.tile(images, 2)):
            each, faces = pairs[i]
            pose = faces[0].camera_from_face
            if smoother is None:
                smoother = FaceSmoother(faces[0], pose, 0)
            else:
                streams[i] = each, [smoother.update(faces[0], pose, number * STEP_NS)]
    return streams
