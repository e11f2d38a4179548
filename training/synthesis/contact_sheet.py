# SPDX-License-Identifier: Apache-2.0
"""Write a sheet of random synthetic samples, for inspection of the training data."""
from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from depthface_ros.engines.contract import DETECTOR_HEIGHT, DETECTOR_WIDTHS
from depthface_ros.estimation.head_detector import detector_stride
from depthface_ros.face_model.mesh import FaceModel
from training.data.render import add_people_arguments, people_factory
from training.data.rendered_dataset import WINDOW_PIXELS
from training.synthesis.scene.cameras import sample_camera
from training.synthesis.scene.random_scene import sample_scene
from training.synthesis.scene.views import View, measure, render_frame, render_window

LIGHT = np.array([-0.4, -0.5, -0.75])  # towards the light, camera frame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--out', type=Path, default=Path('samples.png'))
    parser.add_argument('--count', type=int, default=64)
    parser.add_argument('--columns', type=int, default=8)
    parser.add_argument('--split', choices=('train', 'validation'), default='train')
    parser.add_argument('--what', choices=('windows', 'frames'), default='windows',
                        help='windows around heads, or whole frames as the input of the head detector')
    parser.add_argument('--clean', action='store_true', help='without the sensor')
    add_people_arguments(parser)
    parser.add_argument('--seed', type=int, default=0)


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    torch.manual_seed(options.seed)
    people = people_factory(options.split, options)
    people.sample(rng)  # caches are built here, once
    start, scenes, views = time.perf_counter(), [], []
    for _ in range(options.count):
        scenes.append(sample_scene(rng, people, sample_camera(rng, options.split)))
        views.append(_view(scenes[-1], options.what))
    rate = options.count / (time.perf_counter() - start)
    print(f'{rate:.1f} {options.what} per second rendered')
    depth = torch.stack([view.depth for view in views])
    if not options.clean:
        start = time.perf_counter()
        depth = measure(views, [scene.camera.sensor for scene in scenes])
        print(f'{options.count / (time.perf_counter() - start):.1f} sensor images per second')
    tiles = []
    for k, (scene, view) in enumerate(zip(scenes, views)):
        tile = shade(depth[k].numpy(), view.fx, view.fy)
        if k % 4 == 0:
            for head in scene.heads:
                _draw_points(tile, view, FaceModel.load().landmarks(head.vertices_camera))
        tiles.append(tile)
    sheet = tile_images(tiles, options.columns)
    Image.fromarray(sheet).save(options.out)
    print(f'{options.out}: {sheet.shape[1]} x {sheet.shape[0]} pixels')


def shade(depth_m, fx, fy):
    """Render depth (H, W) as a lit surface: (H, W, 3) uint8, dark blue where there is no depth."""
    z = np.where(depth_m > 0, depth_m, np.nan)
    zv, zu = np.gradient(z)
    normal = np.stack([zu * fx, zv * fy, -z], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    light = np.clip(normal @ LIGHT, 0.05, 1)
    near = np.clip((3 - z) / 2.7, 0, 1)[..., None]
    colour = near * [1.0, 0.86, 0.72] + (1 - near) * [0.55, 0.7, 0.95]
    colour = np.where(np.isnan(light)[..., None], [0.05, 0.05, 0.2], colour * light[..., None])
    return (255 * np.clip(colour, 0, 1)).astype(np.uint8)


def tile_images(tiles, columns):
    """Tile images of one size, with a gap of 2 pixels: (H, W, 3) uint8."""
    height, width, _ = tiles[0].shape
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (height + 2), columns * (width + 2), 3), 255, np.uint8)
    for k, tile in enumerate(tiles):
        top, left = k // columns * (height + 2), k % columns * (width + 2)
        sheet[top:top + height, left:left + width] = tile
    return sheet


def _view(scene, what) -> View:
    if what == 'windows':
        centre = scene.heads[0].centre_camera if scene.heads else (0, 0, 1.2)
        return render_window(scene, centre, WINDOW_PIXELS)
    camera = scene.camera
    stride = detector_stride(camera.height, camera.width, camera.fx)
    return render_frame(scene, stride, (DETECTOR_HEIGHT, DETECTOR_WIDTHS[-1]))


def _draw_points(image, view: View, points_camera):
    x, y, z = np.asarray(points_camera).T
    u, v = np.round([view.fx * x / z + view.cx, view.fy * y / z + view.cy]).astype(int)
    inside = (u >= 0) & (u < image.shape[1]) & (v >= 0) & (v < image.shape[0])
    image[v[inside], u[inside]] = (60, 255, 60)
