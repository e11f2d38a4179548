# SPDX-License-Identifier: Apache-2.0
"""Intensities of the action units of FACS (Facial Action Coding System) from expressions."""

from __future__ import annotations

import numpy as np

from depthface_ros.face_model.mesh import EXPRESSION_NAMES

CODES = 99  # codes run from 0 to 98

# Code of an action unit (Ekman, Friesen and Hager 2002) <- the ARKit coefficients that Apple
# describes as the same movement. FACS has no code for mouthLeft and mouthRight. Directions of the
# eyes (61 to 64) are omitted, because depth does not measure them. The pose contains the turns of
# the head (51 to 58).
ACTION_UNITS = {
    1: ('browInnerUp',),  # inner brow raiser
    2: ('browOuterUpLeft', 'browOuterUpRight'),  # outer brow raiser
    4: ('browDownLeft', 'browDownRight'),  # brow lowerer
    5: ('eyeWideLeft', 'eyeWideRight'),  # upper lid raiser
    6: ('cheekSquintLeft', 'cheekSquintRight'),  # cheek raiser
    7: ('eyeSquintLeft', 'eyeSquintRight'),  # lid tightener
    8: ('mouthClose',),  # lips toward each other
    9: ('noseSneerLeft', 'noseSneerRight'),  # nose wrinkler
    10: ('mouthUpperUpLeft', 'mouthUpperUpRight'),  # upper lip raiser
    12: ('mouthSmileLeft', 'mouthSmileRight'),  # lip corner puller
    14: ('mouthDimpleLeft', 'mouthDimpleRight'),  # dimpler
    15: ('mouthFrownLeft', 'mouthFrownRight'),  # lip corner depressor
    16: ('mouthLowerDownLeft', 'mouthLowerDownRight'),  # lower lip depressor
    17: ('mouthShrugLower', 'mouthShrugUpper'),  # chin raiser: pushes both lips up
    18: ('mouthPucker',),  # lip pucker
    19: ('tongueOut',),  # tongue show
    20: ('mouthStretchLeft', 'mouthStretchRight'),  # lip stretcher
    22: ('mouthFunnel',),  # lip funneler
    24: ('mouthPressLeft', 'mouthPressRight'),  # lip pressor
    26: ('jawOpen',),  # jaw drop
    28: ('mouthRollLower', 'mouthRollUpper'),  # lip suck
    29: ('jawForward',),  # jaw thrust
    30: ('jawLeft', 'jawRight'),  # jaw sideways
    34: ('cheekPuff',),  # cheek puff
    45: ('eyeBlinkLeft', 'eyeBlinkRight'),  # blink
}


def action_units(expression: np.ndarray) -> np.ndarray:
    """Return the intensity of each action unit: (99,) float32 in 0..1, NaN for unused codes.

    An action unit with several coefficients takes their maximum, so a wink counts.

    :param expression: (52,) in 0..1, in the order of EXPRESSION_NAMES.
    """
    intensity = np.full(CODES, np.nan, np.float32)
    for code, columns in _COLUMNS.items():
        intensity[code] = expression[columns].max()
    return intensity


_COLUMNS = {code: [EXPRESSION_NAMES.index(name) for name in names]
            for code, names in ACTION_UNITS.items()}
