# SPDX-License-Identifier: Apache-2.0
"""Head axes, in which people are generated: x and z of the generators' upright heads.

Origin and y are those of the face frame. Regions, hair, clothes and necks have their coordinates in
head axes; :meth:`training.synthesis.people.person.Person.in_face_frame` turns a finished person.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.crop import FACE_FROM_HEAD


@cache
def head_model() -> FaceModel:
    """Return the shipped face mesh with its template in head axes; its arrays are read-only."""
    model = FaceModel.load()
    template = (model.template @ np.array(FACE_FROM_HEAD)).astype(np.float32)
    template.setflags(write=False)
    return replace(model, template=template)


def in_face_frame(vertices: np.ndarray) -> np.ndarray:
    """Turn vertices (..., 3) from head axes to the face frame; dtype and unit are kept."""
    return vertices @ np.array(FACE_FROM_HEAD, vertices.dtype).T
