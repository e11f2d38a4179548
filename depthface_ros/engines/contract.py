# SPDX-License-Identifier: Apache-2.0
"""Names and shapes of inputs and outputs of each network, without the batch axis."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from depthface_ros.estimation.error_prior import POSE
from depthface_ros.estimation.refinement import EXPRESSIONS, FEATURES, MODES
from depthface_ros.geometry.crop import CROP_PIXELS

DETECTOR_HEIGHT, DETECTOR_CELL = 120, 4
DETECTOR_WIDTHS = (160, 224)  # what a 4:3 image needs, and a wide one
_CROPS = ((4, CROP_PIXELS, CROP_PIXELS),)


@dataclass(frozen=True)
class Contract:
    """One network: its input and its outputs.

    None stands for the number of mesh vertices, and for axes that depend on the width of the image.
    """

    input_name: str
    input_shapes: tuple[tuple[int, ...], ...]  # all there are; most networks take one
    outputs: Mapping[str, tuple[int | None, ...]]
    max_batch: int = 8  # of engines with fixed memory: they split larger batches

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The input's axes after the batch; None where they depend on the image."""
        return tuple(axis[0] if len(set(axis)) == 1 else None for axis in zip(*self.input_shapes))

    @property
    def input_range(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The smallest and the largest input of such engines, batch axis included."""
        axes = list(zip(*self.input_shapes))
        return (1, *map(min, axes)), (self.max_batch, *map(max, axes))

    def check(self, file: object, inputs: Mapping[str, tuple],
              outputs: Mapping[str, tuple]) -> None:
        """Raise ValueError unless inputs and outputs (name -> shape) of a file are these.

        Shapes include the batch axis; axes that are not integers (unknown) match anything.
        """
        expected = {'inputs': {self.input_name: self.input_shape}, 'outputs': dict(self.outputs)}
        for kind, found in (('inputs', inputs), ('outputs', outputs)):
            if (found.keys() != expected[kind].keys() or not all(
                    _matches(found[name][1:], shape) for name, shape in expected[kind].items())):
                raise ValueError(f'{file}: {kind} {dict(found)}: expected {expected[kind]} after '
                                 'the batch axis')


def _matches(found: tuple, expected: tuple) -> bool:
    return len(found) == len(expected) and all(
        not isinstance(f, int) or e is None or f == e for f, e in zip(found, expected))


NETWORKS = {
    # points (m, camera frame) and validity of the whole frame -> where heads are; one at a time
    'head_finder': Contract('point_map', tuple((4, DETECTOR_HEIGHT, w) for w in DETECTOR_WIDTHS),
                            {'heatmap': (DETECTOR_HEIGHT // DETECTOR_CELL, None),
                             'offset': (3, DETECTOR_HEIGHT // DETECTOR_CELL, None)}, max_batch=1),
    # rotation: first two columns of crop_from_head; sellion: crop frame, half crop sizes;
    # log_variance: of the rotation per axis (rad^2) and of the position per axis (m^2)
    'head_pose': Contract('crop', _CROPS, {'rotation': (6,), 'sellion': (3,),
                                          'log_variance': (2,), 'confidence': (1,)}),
    # offsets: m, face frame; residual: rotation vector (rad), translation (m), to follow the pose
    'face_shape': Contract('crop', _CROPS, {'offsets': (None, 3), 'expression': (EXPRESSIONS,),
                                           'residual': (POSE,)}),
    # residual after the alignment -> a correction as in Refinement.refined, the expression, and
    # log variances of the corrected pose as of head_pose
    'face_refiner': Contract('features', ((FEATURES,),), {'correction': (POSE + MODES,),
                                                          'expression': (EXPRESSIONS,),
                                                          'log_variance': (2,)}),
}
