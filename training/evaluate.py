# SPDX-License-Identifier: Apache-2.0
"""Measure the whole pipeline as a robot runs it: whole frames of unseen people and cameras.

Frames go through the head finder and the shipped ONNX files. Nothing is aligned or scaled before
an error is taken, unless its name says so; a face that is not found counts as a miss.
"""
from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.spatial.transform import Rotation

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.face_model import FaceModel
from training.pool import add_people_arguments, people_factory
from training.synthesis.cameras import sample_camera
from training.synthesis.scene import Head, Scene, facing_pose, sample_scene
from training.synthesis.views import View, measure, render_frame

MATCH_WITHIN = 0.10  # m between sellions
ASKED = 0.5  # share of the face in view from which it counts
FRAMES_PER_TASK = 20

Record = dict[str, float | str | bool]


def evaluate_frames(task: tuple) -> tuple[list[Record], int]:
    """Records of all faces in FRAMES_PER_TASK frames, and how many false faces were found."""
    options, number = task
    rng = np.random.default_rng([options.seed, 7, number])
    generator = torch.Generator().manual_seed(options.seed * 100_003 + number)
    people = people_factory('validation', options)
    estimator = FaceEstimator('cpu', models_folder=options.models)
    records: list[Record] = []
    false_faces = 0
    for _ in range(FRAMES_PER_TASK):
        scene = sample_scene(rng, people, sample_camera(rng, 'validation'))
        view = render_frame(scene)
        depth = noisy_depth_mm(scene, view, generator)
        camera = scene.camera
        faces = estimator(depth, Intrinsics(camera.fx, camera.fy, camera.cx, camera.cy))
        sellions = np.array([face.camera_from_face[:3, 3] for face in faces]).reshape(-1, 3)
        taken = set()
        for k, head in enumerate(scene.heads):
            gap = np.linalg.norm(sellions - head.camera_from_face[:3, 3], axis=1)
            nearest = int(np.argmin(gap)) if len(gap) else -1
            found = nearest >= 0 and gap[nearest] < MATCH_WITHIN
            if found:
                taken.add(nearest)
            record = describe(scene, head, float(view.face_visible[k]), float(view.head_visible[k]))
            if found:
                record |= errors(faces[nearest], head)
            records.append(record | {'found': found})
        false_faces += len(faces) - len(taken)
    return records, false_faces


def noisy_depth_mm(scene: Scene, view: View, generator: torch.Generator) -> np.ndarray:
    """What the scene's camera delivers: (H, W) uint16 millimetres."""
    noisy = measure([view], [scene.camera.sensor], generator)[0]
    return (noisy * 1000).round().numpy().astype(np.uint16)


def describe(scene: Scene, head: Head, face_visible: float, head_visible: float) -> Record:
    """Where a face is and how it is turned, in metres and degrees from the viewing ray."""
    camera, pose = scene.camera, head.camera_from_face
    frontal = facing_pose(head.centre_camera, 0, 0, 0)
    yaw, pitch, roll = Rotation.from_matrix(frontal[:3, :3].T @ pose[:3, :3]).as_euler('ZYX', degrees=True)
    x, y, z = head.vertices_camera.T
    u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
    in_image = np.mean((u > 0) & (u < camera.width - 1) & (v > 0) & (v < camera.height - 1))
    facing = -pose[:3, 0] @ head.centre_camera / np.linalg.norm(head.centre_camera)
    return {'camera': camera.name, 'family': camera.family, 'generator': head.person.generator,
            'identity': int(head.person.identity), 'distance_m': float(pose[2, 3]), 'yaw_deg': yaw,
            'pitch_deg': pitch, 'roll_deg': roll, 'facing': float(facing), 'head_visible': head_visible,
            'in_view': face_visible * float(in_image) if facing > 0 else 0.}


def errors(face, head: Head) -> Record:
    """Errors of a found face: degrees, millimetres, expression."""
    pose, truth = face.camera_from_face, head.camera_from_face
    vertices, true_vertices = face.vertices, head.vertices_camera
    distance = 1000 * np.linalg.norm(vertices - true_vertices, axis=1)
    centred, true_centred = vertices - vertices.mean(0), true_vertices - true_vertices.mean(0)
    align, _ = Rotation.align_vectors(true_centred, centred)
    expression = np.abs(face.expression - head.person.expression)
    return {'geodesic_deg': float(np.degrees(Rotation.from_matrix(truth[:3, :3].T @ pose[:3, :3]).magnitude())),
            'sellion_mm': 1000 * float(np.linalg.norm(pose[:3, 3] - truth[:3, 3])),
            'mesh_mm': float(distance.mean()), 'face_mm': float(distance[not_ears()].mean()),
            'mesh_aligned_mm': 1000 * float(np.linalg.norm(align.apply(centred) - true_centred, axis=1).mean()),
            'expression': float(expression.mean()), 'confidence': face.confidence,
            'rotation_std_deg': float(np.degrees(face.rotation_std)), 'position_std_mm': 1000 * face.position_std}


@cache
def not_ears() -> np.ndarray:
    """The face proper: vertices that are not of the ears, which hair often covers."""
    model = FaceModel.load()
    return np.setdiff1d(np.arange(len(model.template)), model.regions['ears'])


def asked(record: Record) -> bool:
    return record['in_view'] >= ASKED


def in_core(record: Record) -> bool:
    """The range in which a robot talks to people."""
    return asked(record) and 0.4 <= record['distance_m'] <= 1.5 and abs(record['yaw_deg']) <= 60


def summary(records: list[Record]) -> dict[str, float]:
    """Figures of a group of faces."""
    found = [record for record in records if record['found']]
    row = {'faces': len(records), 'missed_percent': 100 * (1 - len(found) / len(records)) if records else np.nan}
    for name in ('geodesic_deg', 'sellion_mm', 'mesh_mm', 'face_mm', 'mesh_aligned_mm', 'expression'):
        values = np.array([record[name] for record in found]) if found else np.array([np.nan])
        row |= {f'{name}_median': float(np.median(values)), f'{name}_mean': float(values.mean()),
                f'{name}_p95': float(np.percentile(values, 95))}
    return row


GROUPS: dict[str, tuple[Callable[[Record], bool], Callable[[Record], str]]] = {
    'range': (asked, lambda r: 'all'),
    'core': (in_core, lambda r: '0.4-1.5 m, yaw within 60'),
    'distance': (asked, lambda r: f'{np.floor(r["distance_m"] * 2) / 2:.1f} m and up'),
    'yaw': (asked, lambda r: f'|yaw| {int(abs(r["yaw_deg"]) // 20 * 20):3d} and up'),
    'camera': (in_core, lambda r: r['camera']),
    'generator': (in_core, lambda r: r['generator']),
}


def report(records: list[Record], frames: int, false_faces: int) -> dict:
    """Everything the command prints and writes."""
    groups = {}
    for name, (keep, key) in GROUPS.items():
        kept = [record for record in records if keep(record)]
        groups[name] = {value: summary([record for record in kept if key(record) == value])
                        for value in sorted({key(record) for record in kept})}
    return {'frames': frames, 'faces': len(records), 'false_faces_per_100_frames': 100 * false_faces / frames,
            'groups': groups}


def print_report(result: dict) -> None:
    table = Table(title=f'{result["frames"]} frames, {result["faces"]} people, '
                        f'{result["false_faces_per_100_frames"]:.1f} false faces per 100 frames')
    columns = {'faces': '{:.0f}', 'missed_percent': '{:.1f}', 'geodesic_deg_median': '{:.2f}',
               'geodesic_deg_mean': '{:.2f}', 'geodesic_deg_p95': '{:.2f}', 'sellion_mm_median': '{:.1f}',
               'sellion_mm_p95': '{:.1f}', 'mesh_mm_median': '{:.2f}', 'mesh_mm_mean': '{:.2f}',
               'face_mm_median': '{:.2f}', 'face_mm_mean': '{:.2f}', 'mesh_aligned_mm_mean': '{:.2f}', 'expression_mean': '{:.3f}'}
    table.add_column('group')
    for name in columns:
        table.add_column(name.replace('_', ' '), justify='right')
    for rows in result['groups'].values():
        for value, row in rows.items():
            table.add_row(value, *(form.format(row[name]) for name, form in columns.items()))
        table.add_section()
    Console(width=180).print(table)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_people_arguments(parser)
    parser.add_argument('--frames', type=int, default=2000)
    parser.add_argument('--models', type=Path, default=MODELS_FOLDER)
    parser.add_argument('--out', type=Path, help='JSON file for the report')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=os.cpu_count())


def run(options: argparse.Namespace) -> None:
    people_factory('validation', options)  # bakes what it caches once, before the workers need it
    tasks = [(options, number) for number in range(-(-options.frames // FRAMES_PER_TASK))]
    records, false_faces = [], 0
    with multiprocessing.get_context('spawn').Pool(options.workers, torch.set_num_threads, (1,)) as pool:
        for part, false in track(pool.imap_unordered(evaluate_frames, tasks), 'evaluating', total=len(tasks)):
            records += part
            false_faces += false
    result = report(records, len(tasks) * FRAMES_PER_TASK, false_faces)
    print_report(result)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + '\n')
