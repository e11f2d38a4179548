# SPDX-License-Identifier: Apache-2.0
"""Evaluate the pipeline on recordings of real people, with or without labels.

Each data set defines its own head frame: its axes lie a few degrees from those of the face frame,
and its head centre some millimetres away. So errors are reported twice: raw, and `aligned`, after
one constant rotation and shift of the head frame have been removed.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from rich import box
from rich.progress import track
from rich.table import Table
from scipy.spatial.transform import Rotation

from depthface_ros import FaceEstimator
from depthface_ros.estimation.types import Face
from depthface_ros.io.frame import Frame
from training.adapt.datasets import Labelled
from training.data.frame_views import rectified
from training.evaluation.errors import HEAD_FROM_FACE, Record, pose_errors, reported_uncertainty
from training.evaluation.figures import within_sigma
from training.evaluation.groups import between, column, distribution, percentage
from training.evaluation.self_consistency import mesh_to_points, self_consistency_figures

SAME_HEAD = 0.15  # m between head centres
ERRORS = ('geodesic_deg', 'mae_pyr_deg', 'mae_ypr_deg', 'head_mm')
GROUPS: dict[str, Callable[[Record], str]] = {
    'range': lambda r: 'all',
    'yaw': lambda r: between(abs(r['yaw_deg']), (0, 20, 40, 60, 80, 180), 'yaw'),
    'person': lambda r: r['person']}


def real_records(labelled: Iterable[Labelled], estimator: FaceEstimator) -> list[Record]:
    """Return a record for each labelled head; frames without a label are left out."""
    records, truths, poses = [], [], []
    for each in track(labelled, 'evaluating', total=None):
        if each.camera_from_head is None:
            continue
        frame, truth = rectified(each.frame), pose_of_label(each.camera_from_head)
        face = nearest(estimator(frame.depth, frame.intrinsics), truth[:3, 3])
        record = {'frame': frame.name, 'person': each.person, 'real': True,
                  'found': face is not None, 'yaw_deg': yaw_from_ray(truth)}
        if face is not None:
            truths.append(truth)
            poses.append(pose_of_head(face))
            record |= reported_uncertainty(face) | {'mesh_to_points_mm': float(mesh_to_points(
                frame.depth, frame.intrinsics, [face], estimator.face_model)[0])}
        records.append(record)
    found = [record for record in records if record['found']]
    for record, truth, pose, aligned in zip(found, truths, poses, offset_removed(poses, truths)):
        record |= head_errors(pose, truth)
        record |= {f'aligned_{name}': value for name, value in head_errors(aligned, truth).items()}
    return records


def pose_of_label(camera_from_head: np.ndarray) -> np.ndarray:
    """Return a label (4, 4) with the axes of the face frame and its origin at the head centre."""
    pose = camera_from_head.astype(float)
    pose[:3, :3] = pose[:3, :3] @ HEAD_FROM_FACE
    return pose


def pose_of_head(face: Face) -> np.ndarray:
    """Return the pose (4, 4) of a face with its origin moved to the head centre."""
    pose = face.camera_from_face.astype(float)
    pose[:3, 3] = face.head_centre
    return pose


def nearest(faces: list[Face], centre: np.ndarray) -> Face | None:
    """Return the face nearest to a head, or the most confident one if no position is labelled."""
    if not faces or not np.isfinite(centre).all():
        return faces[0] if faces else None
    distances = [float(np.linalg.norm(face.head_centre - centre)) for face in faces]
    return faces[int(np.argmin(distances))] if min(distances) < SAME_HEAD else None


def yaw_from_ray(pose: np.ndarray) -> float:
    """Return the yaw of a head from the viewing ray, in degrees."""
    back = -pose[:3, 3] if np.isfinite(pose[:3, 3]).all() else np.array([0, 0, -1.0])
    return float(np.degrees(np.arctan2(pose[:3, 1] @ back, pose[:3, 0] @ back)))


def offset_removed(poses: list[np.ndarray], truths: list[np.ndarray]) -> list[np.ndarray]:
    """Return poses without their mean rotation and shift of the head frame against the truth."""
    if not poses:
        return []
    mine, true = np.array(poses), np.array(truths)
    turns = np.swapaxes(true[:, :3, :3], 1, 2) @ mine[:, :3, :3]
    turn = Rotation.from_matrix(turns).mean().as_matrix()
    offset = np.swapaxes(mine[:, :3, :3], 1, 2) @ (mine[:, :3, 3:] - true[:, :3, 3:])
    finite = offset[np.isfinite(offset).all(axis=(1, 2))]
    shift = finite.mean(axis=0) if len(finite) else np.zeros((3, 1))
    aligned = mine.copy()
    aligned[:, :3, :3] = mine[:, :3, :3] @ turn.T
    aligned[:, :3, 3:] = mine[:, :3, 3:] - mine[:, :3, :3] @ shift
    return list(aligned)


def head_errors(pose: np.ndarray, truth: np.ndarray) -> Record:
    """Return the errors of a pose whose origin is the head centre."""
    return {name.replace('sellion', 'head'): value
            for name, value in pose_errors(pose, truth).items()}


def real_figures(records: list[Record], kind: str) -> dict:
    """Return the figures of a labelled data set, in the form that `--compare` requires."""
    found = [record for record in records if record['found']]
    groups = {name: {value: _summary([record for record in records if key(record) == value])
                     for value in sorted({key(record) for record in records})}
              for name, key in GROUPS.items()}
    return {'dataset': kind, 'frames': len(records), 'faces': len(records), 'groups': groups,
            'within_sigma': within_sigma(found) if found else {}}


def _summary(records: list[Record]) -> dict:
    found = [record for record in records if record['found']]
    row = {'faces': len(records), 'missed_percent': percentage(len(records) - len(found), len(records))}
    for name in (*ERRORS, *(f'aligned_{name}' for name in ERRORS), 'mesh_to_points_mm'):
        values = column(found, name)
        values = values[np.isfinite(values)]
        if len(values):
            row |= {f'{name}_{kind}': figure for kind, figure in distribution(values).items()}
    return row


def unlabelled_figures(frames: Iterable[Labelled], estimator: FaceEstimator, kind: str) -> dict:
    """Return figures that need no label: distance of mesh and points, consistency under motion.

    Misses and surplus faces are counted where each image of a data set shows exactly one face.
    """
    known: list[int | None] = []

    def rectified_frames() -> Iterator[Frame]:
        for each in track(frames, 'evaluating', total=None):
            known.append(each.faces)
            yield rectified(each.frame)

    figures = self_consistency_figures(estimator, rectified_frames())
    if known and all(count == 1 for count in known):
        found = figures['frames_with_faces']
        figures |= {'missed_percent': percentage(len(known) - found, len(known)),
                    'surplus_faces': figures['faces'] - found}
    return {'dataset': kind, 'frames': figures['frames'], 'within_sigma': {}, 'groups': {
        'range': {'all': figures}}}


def real_table(tree: dict) -> Table:
    """Return the figures of a data set as a table for the terminal."""
    groups = tree['groups']
    if 'person' not in groups:
        table = Table('figure', 'value', title=f'{tree["dataset"]}, without labels',
                      box=box.SIMPLE_HEAD)
        for name, value in groups['range']['all'].items():
            figure = value[0] if isinstance(value, list) else value
            table.add_row(name.replace('_', ' '), f'{figure:.4g}')
        return table
    table = Table(title=f'{tree["dataset"]}: {tree["frames"]} labelled frames; raw / after one '
                  'offset for all is removed', box=box.SIMPLE_HEAD)
    for heading in ('group', 'frames', 'missed %', 'rotation deg median', 'mean', 'p95',
                    'MAE pyr', 'MAE ypr', 'head mm mean', 'mesh to points mm, median'):
        table.add_column(heading, justify='right' if table.columns else 'left')
    for rows in groups.values():
        for value, row in rows.items():
            table.add_row(value, str(row['faces']), f'{row["missed_percent"][0]:.1f}', *(
                _pair(row, name) for name in (
                    'geodesic_deg_median', 'geodesic_deg_mean', 'geodesic_deg_p95',
                    'mae_pyr_deg_mean', 'mae_ypr_deg_mean', 'head_mm_mean')),
                f'{row.get("mesh_to_points_mm_median", [np.nan])[0]:.2f}')
        table.add_section()
    return table


def _pair(row: dict, name: str) -> str:
    raw, aligned = (row.get(key, [np.nan])[0] for key in (name, f'aligned_{name}'))
    return f'{raw:.2f} / {aligned:.2f}'
