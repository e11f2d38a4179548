# SPDX-License-Identifier: Apache-2.0
"""Render the synthetic recording of the demo and the tests: two people who talk and look about.

Both people are synthetic and not in the training data. One seed gives one recording. The true pose
of every face is in it under /ground_truth.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from training.assets.sample_actors import Actor
from training.assets.sample_messages import SampleBag
from training.synthesis.random_rotations import axis_rotation
from training.synthesis.scene.cameras import VALIDATION_CAMERAS
from training.synthesis.scene.random_scene import Scene, build_scene
from training.synthesis.scene.solids import box, cylinder
from training.synthesis.scene.views import measure, render_frame

RATE = 15.0  # Hz
FIRST_STAMP = 1_700_000_000 * 10 ** 9  # ns
MESH_EVERY = 5  # frames
# A good Kinect v1, without noise that would flicker where the error of a real camera is constant.
CAMERA = VALIDATION_CAMERAS[0]
CAMERA = CAMERA._replace(sensor=CAMERA.sensor._replace(
    noise_base=0.0008, noise_quadratic=0.0013, correlation=5, smoothing=0.4, hole=0, bias=0,
    hair_hole=0.01, max_range=2.2))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--out', type=Path, default=Path('demo/sample.mcap'))
    parser.add_argument('--seconds', type=float, default=5.0)
    parser.add_argument('--hair', type=Path,
                        help='folder of MakeHuman hair; without it both are bald')
    parser.add_argument('--seed', type=int, default=0)


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    actors = Actor.cast(options.hair)
    generator = torch.Generator().manual_seed(options.seed)
    with SampleBag(options.out, CAMERA) as bag:
        for number in range(round(options.seconds * RATE)):
            stamp_ns = FIRST_STAMP + round(number / RATE * 1e9)
            heads = [actor.at(number / RATE) for actor in actors]
            depth_m = measured_depth(build_scene(CAMERA, heads, furniture()), generator)
            bag.write_frame(stamp_ns, np.round(depth_m * 1000).astype(np.uint16))
            bag.write_truth(stamp_ns, heads, with_meshes=number % MESH_EVERY == 0)
    print(f'{options.out}: {options.out.stat().st_size / 1e6:.2f} MB')


def measured_depth(scene: Scene, generator: torch.Generator):
    """Return a scene as the sensor measures it: (H, W) float32 metres, 0 invalid."""
    return measure([render_frame(scene)], [scene.camera.sensor], generator)[0].numpy()


def furniture():
    """Return a shelf and a lamp; the wall behind them is out of range."""
    shelf = [box((0.5, 0.03, 0.3)) + [0.85, y, 2.0] for y in (-0.6, -0.2, 0.2)]
    shelf += [box((0.03, 1.4, 0.3)) + [x, 0, 2.0] for x in (0.6, 1.1)]
    things = [box((0.2, 0.25, 0.15)) + [0.8, -0.34, 1.95], cylinder(0.06, 0.2) + [0.75, 0.1, 1.95]]
    stand_up = axis_rotation('x', [np.pi / 2]).T
    lamp = [cylinder(0.015, 1.5) @ stand_up + [-0.85, 0.2, 1.7],
            cylinder(0.14, 0.22, 24) @ stand_up + [-0.85, -0.5, 1.7]]
    return [*shelf, *things, *lamp]
