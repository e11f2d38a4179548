# SPDX-License-Identifier: Apache-2.0
"""Names and shapes of what goes into and comes out of each network, without the batch axis."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from depthface_ros.crop import CROP_PIXELS

FINDER_HEIGHT, FINDER_WIDTH, FINDER_CELL = 120, 160, 4
_CELLS = (FINDER_HEIGHT // FINDER_CELL, FINDER_WIDTH // FINDER_CELL)
_CROP = (4, CROP_PIXELS, CROP_PIXELS)


@dataclass(frozen=True)
class Contract:
    """One network: its input and its outputs. None stands for the number of mesh vertices."""

    input_name: str
    input_shape: tuple[int, ...]
    outputs: Mapping[str, tuple[int | None, ...]]

    def check(self, network: str, inputs: Mapping[str, tuple],
              outputs: Mapping[str, tuple]) -> None:
        """Raise ValueError unless a file's inputs and outputs (name -> shape) are these.

        Shapes come with the batch axis; axes that are not integers (unknown) match anything.
        """
        expected = {'inputs': {self.input_name: self.input_shape}, 'outputs': dict(self.outputs)}
        for kind, found in (('inputs', inputs), ('outputs', outputs)):
            if (found.keys() != expected[kind].keys() or not all(
                    _matches(found[name][1:], shape) for name, shape in expected[kind].items())):
                raise ValueError(f'network {network}: {kind} {dict(found)}: expected '
                                 f'{expected[kind]} after the batch axis')


def _matches(found: tuple, expected: tuple) -> bool:
    return len(found) == len(expected) and all(
        not isinstance(f, int) or e is None or f == e for f, e in zip(found, expected))


NETWORKS = {
    # points (m, camera frame) and validity of the whole frame -> where heads are
    'head_finder': Contract('point_map', (4, FINDER_HEIGHT, FINDER_WIDTH),
                            {'heatmap': _CELLS, 'offset': (3, *_CELLS)}),
    # rotation: first two columns of crop_from_face; sellion: crop frame, half crop sizes;
    # log_variance: of the rotation per axis (rad^2) and of the position per axis (m^2)
    'head_pose': Contract('crop', _CROP, {'rotation': (6,), 'sellion': (3,),
                                          'log_variance': (2,), 'confidence': (1,)}),
    # offsets: m, face frame; residual: rotation vector (rad), translation (m), to follow the pose
    'face_shape': Contract('crop', _CROP, {'offsets': (None, 3), 'expression': (52,),
                                           'residual': (6,)}),
}
