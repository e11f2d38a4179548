# SPDX-License-Identifier: Apache-2.0
"""Compare real heads of a recording with synthetic ones of a similar camera: a sheet and a table."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from depthface_ros.estimation.estimator import FaceEstimator
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.recordings import open_recording
from training.data.render import add_people_arguments, people_factory
from training.evaluation.depth_statistics import head_statistics
from training.synthesis.contact_sheet import shade, tile_images
from training.synthesis.scene.cameras import FAMILIES, Camera, sample_sensor
from training.synthesis.scene.random_scene import sample_scene
from training.synthesis.scene.views import measure, render_frame

HALF = 0.17  # m from a head's centre to the border of its crop
BEHIND = 0.12  # m from a head's centre to the nearest background
TILE = 160  # px
COLUMNS = 8
VISIBLE = 0.7  # least visible fraction of the compared faces


class Crop(NamedTuple):
    """Depth around a head, at the resolution of the camera."""

    depth_m: np.ndarray  # (H, W), 0 invalid
    distance: float  # m along z, of the head's centre
    focal: float  # px

    @classmethod
    def around(cls, depth_m: np.ndarray, intrinsics: Intrinsics, centre) -> Crop:
        """Cut a square of HALF metres to each side of a point (3,), metres, camera frame."""
        x, y, z = centre
        u, v = intrinsics.fx * x / z + intrinsics.cx, intrinsics.fy * y / z + intrinsics.cy
        half = HALF * intrinsics.fx / z
        rows, columns = (slice(max(int(middle - half), 0), max(int(middle + half), 1))
                         for middle in (v, u))
        return cls(depth_m[rows, columns], float(z), intrinsics.fx)

    def tile(self) -> np.ndarray:
        """Return a shaded picture with repeated pixels, lit alike for all tiles: (TILE, TILE, 3) uint8."""
        picture = Image.fromarray(shade(self.depth_m, self.focal, self.focal))
        scale = TILE / (2 * HALF * self.focal / self.distance)
        size = [min(round(scale * side), TILE) for side in picture.size]
        tile = Image.new('RGB', (TILE, TILE), (13, 13, 51))
        tile.paste(picture.resize(size, Image.Resampling.NEAREST))
        return np.asarray(tile)


def real_crops(options: argparse.Namespace) -> tuple[list[Crop], Intrinsics, tuple[int, int]]:
    """Return crops around all faces that the shipped pipeline finds, and the camera."""
    estimator = FaceEstimator('cpu')
    crops = []
    for number, frame in enumerate(open_recording(options.real, options.intrinsics)):
        if number % options.step:
            continue
        depth = frame.depth / 1000 if frame.depth.dtype == np.uint16 else frame.depth
        depth = np.where(np.isfinite(depth), depth, 0).astype(np.float32)
        crops += [Crop.around(depth, frame.intrinsics, face.head_centre)
                  for face in estimator(depth, frame.intrinsics)]
    if not crops:
        raise SystemExit(f'no face found in {options.real}: nothing to compare with')
    return crops, frame.intrinsics, frame.depth.shape


def synthetic_crops(options, count, distances, intrinsics, shape, rng) -> list[Crop]:
    """Return crops of visible faces that face random sensors of a family."""
    people = people_factory('train', options)
    width, height = options.size or (shape[1], shape[0])
    crops = []
    while len(crops) < count:
        sensor = sample_sensor(rng, options.family)
        camera = Camera('compared', options.family, width, height, intrinsics.fx, intrinsics.fy,
                        (width - 1) / 2, (height - 1) / 2, sensor)
        scene = sample_scene(rng, people, camera, heads=1, distance=distances)
        head, view = scene.heads[0], render_frame(scene)
        faces_camera = -head.camera_from_face[2, 0] > 0.6
        if view.face_visible[0] < VISIBLE or not faces_camera:
            continue
        depth = measure([view], [sensor])[0].numpy()
        crop = Crop.around(depth, Intrinsics(*camera[4:8]), head.centre_camera)
        if (crop.depth_m > 0).mean() > 0.2:
            crops.append(crop)
    return crops


def statistics_table(real: list[Crop], synthetic: list[Crop]) -> Table:
    """Return a table of medians with 10th and 90th percentiles."""
    table = Table('', 'real', 'synthetic')
    rows = [[head_statistics(crop.depth_m, crop.distance + BEHIND) for crop in crops]
            for crops in (real, synthetic)]
    for name in rows[0][0]:
        cells = []
        for of_crops in rows:
            values = [row[name] for row in of_crops if np.isfinite(row[name])]
            low, middle, high = np.percentile(values, [10, 50, 90]) if values else [np.nan] * 3
            cells.append(f'{middle:.2f} ({low:.2f} to {high:.2f})')
        table.add_row(name, *cells)
    table.add_row('heads', *(str(len(crops)) for crops in (real, synthetic)))
    return table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    def numbers(text: str) -> tuple[float, ...]:
        return tuple(float(number) for number in text.split(','))

    parser.add_argument('--real', type=Path, required=True, help='a bag, or images with depth')
    parser.add_argument('--intrinsics', type=numbers, help='fx,fy[,cx,cy] where images have none')
    parser.add_argument('--step', type=int, default=1, help='look at every so many frames')
    parser.add_argument('--family', choices=FAMILIES, default='time_of_flight')
    parser.add_argument('--size', type=lambda text: tuple(int(side) for side in text.split('x')),
                        help='WIDTHxHEIGHT of the camera where frames are crops of its images')
    parser.add_argument('--out', type=Path, default=Path('comparison.png'))
    parser.add_argument('--rows', type=int, default=6)
    parser.add_argument('--synthetic-only', action='store_true',
                        help='draw no real person, for where that may not be shown')
    add_people_arguments(parser)
    parser.add_argument('--seed', type=int, default=0)


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    real, intrinsics, shape = real_crops(options)
    distances = tuple(np.percentile([crop.distance for crop in real], [5, 95]))
    synthetic = synthetic_crops(options, max(len(real), COLUMNS * options.rows), distances, intrinsics,
                                shape, rng)
    Console().print(statistics_table(real, synthetic))
    columns = [synthetic] if options.synthetic_only else [real, synthetic]
    rng.shuffle(real)
    width = COLUMNS // len(columns)
    tiles = [crops[(width * row + k) % len(crops)].tile()
             for row in range(options.rows) for crops in columns for k in range(width)]
    Image.fromarray(tile_images(tiles, COLUMNS)).save(options.out)
    print(f'{options.out}: ' + ('' if options.synthetic_only else 'real left, ') + 'synthetic')
