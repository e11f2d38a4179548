# SPDX-License-Identifier: Apache-2.0
"""Errors against landmarks that people marked in images: positions, and the opening of mouths.

Marked points have no depth, so errors are measured across the viewing ray, at the depth of the
predicted landmark. Annotators and the face model define landmarks differently. So one constant
offset per landmark is removed for the whole data set. Standard errors are bootstrapped over people,
because images of one person are not independent samples.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from rich import box
from rich.progress import track
from rich.table import Table

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from training.adapt.datasets import Labelled
from training.evaluation.errors import Record, reported_uncertainty
from training.evaluation.groups import Figure, percentage
from training.evaluation.self_consistency import mesh_to_points

# Name of a marked point -> landmarks of the face model (iBUG); their mean is the point.
LANDMARKS = {
    'right eye outer corner': (36,), 'right eye upper lid': (37, 38),
    'right eye inner corner': (39,), 'right eye lower lid': (40, 41),
    'left eye inner corner': (42,), 'left eye upper lid': (43, 44),
    'left eye outer corner': (45,), 'left eye lower lid': (46, 47), 'nose tip': (30,),
    'nose wing, image left': (31,), 'nose wing, image right': (35,),
    'right mouth corner': (48,), 'upper lip, upper edge': (51,),
    'left mouth corner': (54,), 'lower lip, lower edge': (57,)}
# Annotators do not agree on lids and nose wings; they are only reported by point.
SHARP = ('right eye outer corner', 'right eye inner corner', 'left eye inner corner',
         'left eye outer corner', 'nose tip', 'right mouth corner', 'upper lip, upper edge',
         'left mouth corner', 'lower lip, lower edge')
DISTANCES = {'mouth_opening': ('upper lip, upper edge', 'lower lip, lower edge'),
             'mouth_width': ('right mouth corner', 'left mouth corner')}
RESAMPLES = 200  # of the people, for standard errors


class Marked(NamedTuple):
    """Marked and predicted landmarks of N faces, mm across the ray."""

    names: tuple[str, ...]  # of P points
    marked: np.ndarray  # (N, P, 2)
    predicted: np.ndarray  # (N, P, 2)
    person: np.ndarray  # (N,) str


def landmark_records(frames: Iterable[Labelled],
                     estimator: FaceEstimator) -> tuple[list[Record], Marked]:
    """Return a record per image, found or not, and the landmarks of found faces.

    :raises ValueError: a marked point has a name that is not in LANDMARKS.
    """
    return compared_landmarks(estimated(frames, estimator), estimator.face_model)


def estimated(frames: Iterable[Labelled],
              estimator: FaceEstimator) -> Iterator[tuple[Labelled, list[Face]]]:
    """Yield the images with marked points, and the faces that are found in them."""
    for each in track(frames, 'evaluating', total=None):
        if each.landmarks is not None:
            yield each, estimator(each.frame.depth, each.frame.intrinsics)


def compared_landmarks(pairs: Iterable[tuple[Labelled, list[Face]]],
                       model: FaceModel) -> tuple[list[Record], Marked]:
    """Return the same as :func:`landmark_records` for images and faces of :func:`estimated`."""
    records, marked, predicted, names = [], [], [], ()
    for each, faces in pairs:
        names = tuple(each.landmarks)
        unknown = sorted(set(names) - set(LANDMARKS))
        if unknown:
            raise ValueError(f'marked points {unknown}: expected some of {list(LANDMARKS)}')
        frame = each.frame
        record = {'frame': frame.name, 'person': each.person, 'real': True, 'found': bool(faces)}
        if faces:
            both = across_ray(faces[0], frame.intrinsics, each.landmarks, model)
            marked.append(both[0])
            predicted.append(both[1])
            record |= reported_uncertainty(faces[0]) | {'mesh_to_points_mm': float(mesh_to_points(
                frame.depth, frame.intrinsics, faces[:1], model)[0])}
        records.append(record)
    people = np.array([record['person'] for record in records if record['found']], str)
    shape = (len(people), len(names), 2)
    return records, Marked(names, np.reshape(marked, shape), np.reshape(predicted, shape), people)


def across_ray(face: Face, intrinsics: Intrinsics, landmarks: dict[str, np.ndarray],
               model: FaceModel) -> tuple[np.ndarray, np.ndarray]:
    """Return marked and predicted points (P, 2) in mm, at the depths of the predicted ones."""
    all_points = model.landmarks(face.vertices)
    points = np.array([all_points[list(LANDMARKS[name])].mean(0) for name in landmarks])
    x, y, z = points.T
    predicted = np.stack(intrinsics.project(x / z, y / z), axis=1)
    mm_per_pixel = 1000 * z[:, None] / np.array([intrinsics.fx, intrinsics.fy])
    return np.array(list(landmarks.values()), float) * mm_per_pixel, predicted * mm_per_pixel


def landmark_errors(both: Marked) -> np.ndarray:
    """Return errors (N, P) in mm without the mean offset of each point."""
    offset = both.predicted - both.marked
    return np.linalg.norm(offset - offset.mean(axis=0, keepdims=True), axis=2)


def face_errors(both: Marked) -> np.ndarray:
    """Return the mean error (N,) of each face in mm over the points with a sharp definition."""
    return landmark_errors(both)[:, [name in SHARP for name in both.names]].mean(axis=1)


def landmark_figures(records: list[Record], both: Marked, kind: str) -> dict:
    """Return the figures, in the form that `--compare` requires: [value, standard error]."""
    found = sum(record['found'] for record in records)
    row: dict = {'missed_percent': percentage(len(records) - found, len(records))}
    points: dict[str, Figure] = {}
    if found:
        errors, of_faces = landmark_errors(both), face_errors(both)
        row['landmark_mm_mean'] = _with_error(
            lambda faces: float(of_faces[faces].mean()), both.person)
        points = {name: _with_error(lambda faces, i=i: float(errors[faces, i].mean()), both.person)
                  for i, name in enumerate(both.names)}
        for name, ends in DISTANCES.items():
            if set(ends) <= set(both.names):
                lengths = [_length(points_mm, both.names, ends)
                           for points_mm in (both.marked, both.predicted)]
                row |= _agreement(name, *lengths, both.person)
                changes = [_change(length, both.person) for length in lengths]
                row |= _agreement(f'{name}_change', *changes, both.person)
    return {'dataset': kind, 'frames': len(records), 'within_sigma': {},
            'groups': {'range': {'all': row}, 'points': {'mean error mm': points}}}


def _length(points_mm: np.ndarray, names: tuple[str, ...], ends: tuple[str, str]) -> np.ndarray:
    first, last = (points_mm[:, names.index(end)] for end in ends)
    return np.linalg.norm(first - last, axis=1)


def _change(lengths: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Return lengths (N,) less the mean of their person: what expressions do."""
    _, members = np.unique(person, return_inverse=True)
    return lengths - (np.bincount(members, lengths) / np.bincount(members))[members]


def _agreement(name: str, marked: np.ndarray, predicted: np.ndarray,
               person: np.ndarray) -> dict[str, Figure]:
    """Return the correlation of distances (N,) and the slope of the regression line."""
    def correlation(faces: np.ndarray) -> float:
        return float(np.corrcoef(marked[faces], predicted[faces])[0, 1])

    def slope(faces: np.ndarray) -> float:
        return float(np.polyfit(marked[faces], predicted[faces], 1)[0])

    return {f'{name}_correlation': _with_error(correlation, person),
            f'{name}_slope': _with_error(slope, person)}


def _with_error(statistic: Callable[[np.ndarray], float], person: np.ndarray) -> Figure:
    """Return a statistic of face indices (N,), and its standard error over people."""
    members = [np.flatnonzero(person == name) for name in np.unique(person)]
    rng = np.random.default_rng(0)
    resampled = [statistic(np.concatenate([members[i] for i in rng.integers(
        len(members), size=len(members))])) for _ in range(RESAMPLES)]
    return [statistic(np.arange(len(person))), float(np.std(resampled))]


def landmark_table(tree: dict) -> Table:
    """Return the figures as a table for the terminal."""
    table = Table('figure', 'value', 'standard error', box=box.SIMPLE_HEAD,
                  title=f'{tree["dataset"]}: {tree["frames"]} images with marked points')
    groups = tree['groups']
    for name, value in {**groups['range']['all'], **groups['points']['mean error mm']}.items():
        figure, error = value if isinstance(value, list) else (value, float('nan'))
        table.add_row(name.replace('_', ' '), f'{figure:.4g}', f'{error:.2g}')
    return table
