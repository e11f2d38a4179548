# SPDX-License-Identifier: Apache-2.0
"""Random ARKit coefficients: still faces, single actions, mixtures, speech, yawns, smiles, blinks."""

from __future__ import annotations

import numpy as np

from depthface_ros.face_model.mesh import EXPRESSION_NAMES, mirrored_name

INDEX = {name: i for i, name in enumerate(EXPRESSION_NAMES)}
# Left and right coefficients of one action; most faces move both sides equally.
PAIRS = [(INDEX[name], INDEX[mirrored_name(name)]) for name in EXPRESSION_NAMES
         if name.endswith('Left') and not name.startswith(('jaw', 'mouthLeft', 'eyeLook'))]
SPEECH = ('mouthClose', 'mouthFunnel', 'mouthPucker', 'mouthRollLower', 'mouthRollUpper',
          'mouthShrugUpper', 'mouthLowerDownLeft', 'mouthUpperUpLeft', 'mouthStretchLeft',
          'mouthSmileLeft', 'mouthPressLeft')
GAZE = [INDEX[name] for name in EXPRESSION_NAMES if name.startswith('eyeLook')]
# Mutually exclusive actions. The stronger one remains; of two equal ones, the first.
OPPOSED = [('jawLeft', 'jawRight'), ('mouthLeft', 'mouthRight'), ('eyeBlinkLeft', 'eyeWideLeft'),
           ('eyeBlinkRight', 'eyeWideRight'), ('mouthSmileLeft', 'mouthFrownLeft'),
           ('mouthSmileRight', 'mouthFrownRight'), ('mouthPucker', 'mouthStretchLeft'),
           ('mouthPucker', 'mouthStretchRight'), ('mouthFunnel', 'mouthRollLower'),
           ('mouthFunnel', 'mouthRollUpper'), ('browDownLeft', 'browOuterUpLeft'),
           ('browDownRight', 'browOuterUpRight')]


# Actions that come with a smile: probability, and range relative to the pull of the lip corners.
# Cheeks and lids are those of a Duchenne smile; raised and lowered lips show the teeth.
WITH_SMILE = {'cheekSquint': (0.75, 0.2, 1.0), 'eyeSquint': (0.6, 0.1, 0.8),
              'mouthUpperUp': (0.5, 0.2, 0.8), 'mouthLowerDown': (0.4, 0.1, 0.6),
              'mouthStretch': (0.3, 0.1, 0.6), 'mouthDimple': (0.3, 0.1, 0.6),
              'mouthPress': (0.15, 0.1, 0.5), 'noseSneer': (0.15, 0.1, 0.5)}
LAUGHS, SMIRKS = 0.3, 0.3  # fractions of smiles with an open jaw, and of one-sided ones


def random_expression(rng: np.random.Generator, smiles: float = 0.0) -> np.ndarray:
    """Draw coefficients (52,) float32 in 0..1 in the order of EXPRESSION_NAMES.

    :param smiles: fraction of smiles and laughs, which random mixtures hardly contain.
    """
    kind = 'smile' if smiles and rng.random() < smiles else rng.choice(['still', 'single', 'mixture', 'speech', 'yawn'],
                      p=[0.18, 0.18, 0.36, 0.18, 0.1])
    weights = np.zeros(len(EXPRESSION_NAMES))
    if kind == 'smile':
        smile(weights, rng)
    elif kind == 'single':
        weights[rng.integers(len(weights))] = rng.uniform(0.3, 1)
    elif kind == 'mixture':
        active = rng.choice(len(weights), rng.integers(2, 9), replace=False)
        weights[active] = rng.beta(1.3, 1.5, len(active))
    elif kind == 'speech':
        weights[INDEX['jawOpen']] = rng.beta(1.2, 2)
        for name in rng.choice(SPEECH, rng.integers(1, 4), replace=False):
            weights[INDEX[name]] = rng.beta(1.5, 2)
    elif kind == 'yawn':  # or a shout, a bite, a song: the mouth wide open
        active = rng.choice(len(weights), rng.integers(0, 6), replace=False)
        weights[active] = rng.beta(1.3, 2, len(active))
        weights[[INDEX['mouthClose'], INDEX['cheekPuff']]] = 0
        weights[INDEX['jawOpen']] = rng.uniform(0.5, 1)
    weights[GAZE] = 0
    if rng.random() < 0.5:
        turn_eyes(weights, *rng.normal(0, 0.35, 2))
    if rng.random() < 0.15:
        weights[[INDEX['eyeBlinkLeft'], INDEX['eyeBlinkRight']]] = rng.choice([1.0, rng.random()])
    make_sides_alike(weights, rng)
    make_possible(weights)
    return weights.clip(0, 1).astype(np.float32)


def smile(weights: np.ndarray, rng: np.random.Generator) -> None:
    """Add a smile, a laugh or a smirk, with the actions that come with it, in place."""
    strength = rng.uniform(0.2, 1) * np.ones(2)  # left, right
    if rng.random() < SMIRKS:
        strength[rng.integers(2)] *= rng.uniform(0, 0.6)
    both = {'mouthSmile': strength} | {
        name: strength * rng.uniform(low, high)
        for name, (probability, low, high) in WITH_SMILE.items() if rng.random() < probability}
    for name, (left, right) in both.items():
        weights[[INDEX[f'{name}Left'], INDEX[f'{name}Right']]] = left, right
    if rng.random() < LAUGHS:
        weights[INDEX['jawOpen']] = rng.beta(1.3, 3)


def turn_eyes(weights: np.ndarray, left: float, up: float) -> None:
    """Turn both eyes by fractions of their full range towards the person's left and up, in place."""
    both = {'Left': ('Out', 'In'), 'Right': ('In', 'Out')}
    for eye, (to_left, to_right) in both.items():
        weights[INDEX[f'eyeLook{to_left if left > 0 else to_right}{eye}']] = abs(left)
        weights[INDEX[f'eyeLook{"Up" if up > 0 else "Down"}{eye}']] = abs(up)


def make_sides_alike(weights: np.ndarray, rng: np.random.Generator) -> None:
    """Give four of five left-right pairs nearly the same strength, in place."""
    for left, right in PAIRS:
        strongest = max(weights[left], weights[right])
        if strongest > 0 and rng.random() < 0.8:
            weights[[left, right]] = strongest * rng.uniform(0.85, 1, 2)


def make_possible(weights: np.ndarray) -> None:
    """Adjust coefficients to an anatomically possible combination, in place."""
    for first, second in OPPOSED:
        if weights[INDEX[first]] >= weights[INDEX[second]]:
            weights[INDEX[second]] = 0
        else:
            weights[INDEX[first]] = 0
    jaw = INDEX['jawOpen']
    if weights[INDEX['tongueOut']] > 0:
        weights[jaw] = max(weights[jaw], 0.4)
    # ARKit: mouthClose closes the lips over an open jaw, so it cannot exceed it.
    weights[INDEX['mouthClose']] = min(weights[INDEX['mouthClose']], weights[jaw])
    if weights[INDEX['cheekPuff']] > 0.2:
        weights[jaw] = min(weights[jaw], 0.2)
        weights[INDEX['mouthClose']] = weights[jaw]
