# SPDX-License-Identifier: Apache-2.0
"""Leave out one part of the pipeline at a time: accuracy on synthetic and real images, and time.

Every variant runs on the same images. Beside each mean error stands its paired difference from the
whole pipeline, with a standard error: a part that is worth nothing has differences within noise.
"""
from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.alignment import AlignmentConfig
from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.estimation.types import Face
from training.adapt.datasets import Labelled, open_dataset
from training.data.render import add_people_arguments, people_factory
from training.evaluation.errors import Record, mesh_errors, pose_errors
from training.evaluation.frames import SyntheticFrames, intrinsics_of, match
from training.evaluation.groups import column
from training.evaluation.landmarks import Marked, across_ray, face_errors, landmark_figures
from training.evaluation.self_consistency import mesh_to_points
from training.experiments.unfamiliar_people import UnfamiliarPeople
from training.synthesis.scene.cameras import sample_camera
from training.synthesis.scene.random_scene import Head, sample_scene
from training.synthesis.scene.views import render_frame

WHOLE = EstimatorConfig()
PARTS = {
    'whole pipeline': WHOLE,
    'without test-time augmentation': replace(WHOLE, tta_confidence=0.0),
    'without re-cropping': replace(WHOLE, recentre=1.0, upright=3.2),
    'without surface detail': replace(WHOLE, surface=False),
    'without the refiner': replace(WHOLE, refine=False),
    'without alignment, refiner and surface detail': replace(WHOLE, alignment=AlignmentConfig(steps=0)),
}
NOISE_M = 0.0005  # of the simulated precise camera
NEAR = (0.3, 0.9)  # m, distance of faces before the precise camera
TURNED = 50.0  # degrees from the viewing ray, up to which they do
IN_VIEW = 0.5  # least visible fraction of a face
ERRORS = {'geodesic_deg': 'rotation deg', 'sellion_mm': 'sellion mm',
          'face_surface_mm': 'surface posed mm', 'face_surface_aligned_mm': 'surface rigid mm',
          'landmark_mm': 'landmarks mm', 'mesh_to_points_mm': 'mesh to points mm'}

Estimate = Callable[[np.ndarray, Intrinsics], list[Face]]


@dataclass(frozen=True, eq=False)
class Image:
    """A depth image and its truth: heads, or marked landmarks, or nothing."""

    depth: np.ndarray
    intrinsics: Intrinsics
    heads: tuple[Head, ...] = ()
    label: Labelled | None = None


def synthetic_images(frames: SyntheticFrames, count: int) -> list[Image]:
    """Render whole frames and keep the heads that show enough of their faces."""
    images = []
    for number in track(range(count), 'rendering'):
        scene, view, depth = frames[number]
        heads = tuple(head for head, visible in zip(scene.heads, view.face_visible)
                      if visible >= IN_VIEW and _turned_deg(head) < TURNED)
        if heads:
            images.append(Image(depth, intrinsics_of(scene), heads))
    return images


def precise_images(people, count: int, seed: int) -> list[Image]:
    """Render near faces before a camera whose only error is white noise of NOISE_M."""
    images: list[Image] = []
    for number in itertools.count():
        if len(images) == count:
            return images
        rng = np.random.default_rng((seed, 11, number))
        scene = sample_scene(rng, people, sample_camera(rng, 'validation'), heads=1,
                             distance=NEAR)
        view = render_frame(scene)
        if not scene.heads or view.face_visible[0] < IN_VIEW or (
                _turned_deg(scene.heads[0]) >= TURNED):
            continue
        exact = view.depth.numpy()
        depth = np.where(exact > 0, exact + rng.normal(0, NOISE_M, exact.shape), 0)
        images.append(Image(depth.astype(np.float32), intrinsics_of(scene), scene.heads))


def _turned_deg(head: Head) -> float:
    """Return the angle between the face's axis and the ray from it to the camera."""
    pose = head.camera_from_face
    back = -pose[:3, 3] / np.linalg.norm(pose[:3, 3])
    return float(np.degrees(np.arccos(np.clip(pose[:3, 0] @ back, -1, 1))))


def real_images(kind: str, folder: Path) -> list[Image]:
    """Return the images of a data set of single faces, with landmarks if there are any."""
    return [Image(each.frame.depth, each.frame.intrinsics, label=each)
            for each in open_dataset(kind, folder)]


def records_of(images: Iterable[Image], estimate: Estimate) -> list[Record]:
    """Return a record per head, or per image where heads are not known."""
    records: list[Record] = []
    for i, image in enumerate(images):
        faces = estimate(image.depth, image.intrinsics)
        if image.heads:
            at_head = match(faces, image.heads)
            for k, head in enumerate(image.heads):
                record: Record = {'key': (i, k), 'found': k in at_head}
                if k in at_head:
                    face = faces[at_head[k]]
                    record |= (pose_errors(face.camera_from_face, head.camera_from_face)
                               | mesh_errors(face.vertices, head.vertices_camera))
                records.append(record)
        else:
            records.append({'key': (i, 0), 'found': bool(faces), 'face': faces[:1],
                            'person': image.label.person if image.label else ''})
    return records


def add_real_errors(images: list[Image], records: list[Record], estimator: FaceEstimator,
                    kind: str) -> dict:
    """Add distances to measured points and landmark errors to records; return mouth figures."""
    found = [(image, record) for image, record in zip(images, records) if record['found']]
    for image, record in found:
        record['mesh_to_points_mm'] = float(mesh_to_points(
            image.depth, image.intrinsics, record['face'], estimator.face_model)[0])
    labelled = [(image, record) for image, record in found
                if image.label and image.label.landmarks]
    if not labelled:
        return {}
    points = [across_ray(record['face'][0], image.intrinsics, image.label.landmarks,
                         estimator.face_model) for image, record in labelled]
    both = Marked(tuple(labelled[0][0].label.landmarks), *(np.array(part) for part in zip(*points)),
                  np.array([record['person'] for _, record in labelled]))
    for (_, record), error in zip(labelled, face_errors(both)):
        record['landmark_mm'] = float(error)
    row = landmark_figures(records, both, kind)['groups']['range']['all']
    return {name: row[name] for name in row if name.startswith('mouth_')}


def compared(records: list[Record], whole: list[Record]) -> dict:
    """Return mean errors with standard errors, and paired differences from the whole pipeline."""
    before = {record['key']: record for record in whole if record['found']}
    found = [record for record in records if record['found']]
    pairs = [(record, before[record['key']]) for record in found if record['key'] in before]
    figures: dict = {'faces': len(records), 'found': len(found)}
    for name in ERRORS:
        values = column(found, name)
        if np.isfinite(values).any():
            difference = column([now for now, _ in pairs], name) - column(
                [old for _, old in pairs], name)
            figures[name] = _mean(values)
            figures[f'{name}_change'] = _mean(difference)
    return figures


def _mean(values: np.ndarray) -> list[float]:
    values = values[np.isfinite(values)]
    return [float(values.mean()), float(values.std() / np.sqrt(len(values)))]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_people_arguments(parser)
    parser.add_argument('--frames', type=int, default=150, help='synthetic frames')
    parser.add_argument('--faces', type=int, default=50, help='faces before the precise camera')
    parser.add_argument('--kinect2', type=Path, help='folder of kinect2-crops with landmarks')
    parser.add_argument('--sr305', type=Path, help='recording in which each image shows one face')
    parser.add_argument('--models', type=Path, default=MODELS_FOLDER)
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS),
                        help='the first one is compared with')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='JSON file for the figures')


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    frames = SyntheticFrames('validation', options.seed, options.ict, options.hair)
    people = people_factory('validation', frames)
    sets = {'synthetic': synthetic_images(frames, options.frames),
            'precise camera': precise_images(people, options.faces, options.seed),
            'precise camera, unfamiliar faces': precise_images(
                UnfamiliarPeople(people), options.faces, options.seed)}
    for name, kind, folder in (('kinect2', 'kinect2-crops', options.kinect2),
                               ('sr305', 'one-person', options.sr305)):
        if folder:
            sets[name] = real_images(kind, folder)
    figures: dict = {'frames': options.frames, 'faces': options.faces, 'parts': {}}
    whole: dict[str, list[Record]] = {}
    for part in options.parts:
        estimator = FaceEstimator('cpu', PARTS[part], options.models)
        row = figures['parts'][part] = {}
        for name, images in sets.items():
            started = time.process_time()
            records = records_of(images, estimator)
            spent = time.process_time() - started if name in ('kinect2', 'sr305') else None
            mouth = {} if images and images[0].heads else add_real_errors(
                images, records, estimator, name)
            whole.setdefault(name, records)
            row[name] = compared(records, whole[name]) | mouth
            if spent is not None:
                row[name]['cpu_ms_per_image'] = 1000 * spent / len(images)
        if options.out:
            options.out.write_text(json.dumps(figures, indent=1) + '\n')
    for name in sets:
        Console(width=160).print(parts_table(figures, name))


def parts_table(figures: dict, name: str) -> Table:
    """Return the rows of one set of images: mean errors, and differences from the first row."""
    rows = {part: row[name] for part, row in figures['parts'].items()}
    shown = [error for error in ERRORS if any(error in row for row in rows.values())]
    extra = sorted({key for row in rows.values() for key in row
                    if key.startswith(('mouth_', 'cpu_'))})
    table = Table('part', 'found', *(ERRORS[error] for error in shown),
                  *(key.replace('_', ' ') for key in extra), title=name, box=box.SIMPLE_HEAD)
    for part, row in rows.items():
        table.add_row(part, f'{row["found"]} of {row["faces"]}', *(
            f'{row[error][0]:.2f} ({row[f"{error}_change"][0]:+.2f} ± '
            f'{row[f"{error}_change"][1]:.2f})' if error in row else '' for error in shown), *(
            f'{row[key][0] if isinstance(row[key], list) else row[key]:.2f}' for key in extra))
    return table
