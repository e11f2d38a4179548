# SPDX-License-Identifier: Apache-2.0
"""Groups of faces and their figures, each with its standard error: [value, error]."""
from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from training.evaluation.errors import Record

MIN_IN_VIEW = 0.5  # least visible fraction of a face that counts
MIN_MEASURED = 0.1  # least fraction of the visible part with measured depth
RESAMPLES = 200  # of the bootstrap that gives standard errors
ERRORS = ('geodesic_deg', 'mae_pyr_deg', 'mae_ypr_deg', 'sellion_mm', 'mesh_mm', 'mesh_aligned_mm',
          'mesh_surface_mm', 'mesh_surface_aligned_mm', 'face_mm', 'face_aligned_mm',
          'face_surface_mm', 'face_surface_aligned_mm', 'expression')

Figure = list[float]  # a value and its standard error
DISTANCES = (0, 0.3, 0.5, 1, 1.5, 2, 2.5, 3, 9)  # m


def counted(record: Record) -> bool:
    return record['real'] and record['in_view'] >= MIN_IN_VIEW and record['measured'] >= MIN_MEASURED


def in_core(record: Record) -> bool:
    """Return whether a face lies in the range in which a robot interacts with people."""
    return counted(record) and near_and_turned_to(record)


def near_and_turned_to(record: Record) -> bool:
    return 0.4 <= record['distance_m'] <= 1.5 and abs(record['yaw_deg']) <= 60


def between(value: float, edges: Iterable[float], unit: str) -> str:
    """Return the name of the bin of a value; the last bin includes its upper edge."""
    edges = list(edges)
    low = max([edge for edge in edges[:-1] if edge <= value], default=edges[0])
    return f'{low:g}-{edges[edges.index(low) + 1]:g} {unit}'


def reach(record: Record) -> str:
    distance = record['distance_m']
    return '0.3-1.5 m' if 0.3 <= distance <= 1.5 else '2-3 m' if 2 <= distance <= 3 else ''


# name -> condition, and the value that faces are grouped by ('' leaves one out)
GROUPS: dict[str, tuple[Callable[[Record], bool], Callable[[Record], str]]] = {
    'range': (counted, lambda r: 'all'),
    'core': (in_core, lambda r: '0.4-1.5 m, yaw to 60'),
    'turned_to': (counted, lambda r: 'yaw to 60' if abs(r['yaw_deg']) <= 60 else ''),
    'reach': (counted, reach),
    'distance': (counted, lambda r: between(r['distance_m'], DISTANCES, 'm')),
    'yaw': (counted, lambda r: between(abs(r['yaw_deg']), (0, 20, 40, 60, 80, 180), 'yaw')),
    'occlusion': (lambda r: r['real'] and near_and_turned_to(r) and r['in_view'] >= 0.2,
                  lambda r: between(100 * r['in_view'], (20, 35, 50, 65, 80, 95, 100),
                                    '% in view')),
    'measured': (lambda r: r['real'] and near_and_turned_to(r) and r['in_view'] >= MIN_IN_VIEW,
                 lambda r: between(100 * r['measured'], (0, 10, 30, 50, 70, 90, 100),
                                   '% of it measured')),
    'family': (in_core, lambda r: r['family'].replace('_', ' ')),
    'camera': (in_core, lambda r: r['camera']),
    'generator': (in_core, lambda r: r['generator']),
}


def grouped(records: list[Record], name: str) -> dict[str, list[Record]]:
    """Return the faces of each group, sorted by the value of the group; numbers numerically."""
    keep, key = GROUPS[name]
    kept = [(key(record), record) for record in records if keep(record)]
    values = sorted({value for value, _ in kept} - {''}, key=_in_order)
    return {value: [record for other, record in kept if other == value] for value in values}


def _in_order(value: str) -> tuple:
    start = value.split('-')[0]
    return (float(start), value) if start.replace('.', '').isdigit() else (np.inf, value)


def column(records: list[Record], name: str) -> np.ndarray:
    """Return one number of all records: (N,) float64, NaN where it is missing."""
    return np.array([record.get(name, np.nan) for record in records], float)


def summary(records: list[Record]) -> dict[str, Figure | int]:
    """Return the figures of a group of faces; errors are those of found ones."""
    found = [record for record in records if record['found']]
    row: dict[str, Figure | int] = {'faces': len(records), 'missed_percent': percentage(
        len(records) - len(found), len(records))}
    if found:
        for name in ERRORS:
            row |= {f'{name}_{kind}': figure
                    for kind, figure in distribution(column(found, name)).items()}
    return row


def percentage(count: int, total: int) -> Figure:
    """Return a percentage and its error by Wilson's rule, which is not zero at 0 or 100 percent."""
    if not total:
        return [float('nan'), float('nan')]
    middle = (count + 0.5) / (total + 1)
    return [100 * count / total, 100 * float(np.sqrt(middle * (1 - middle) / total))]


def distribution(values: np.ndarray) -> dict[str, Figure]:
    """Return median, mean and 95th percentile of values (N,), with bootstrapped errors."""
    choice = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    resampled = values[choice]
    middle, high = np.percentile(resampled, [50, 95], axis=1)
    return {'median': [float(np.median(values)), float(middle.std())],
            'mean': [float(values.mean()), float(values.std() / np.sqrt(len(values)))],
            'p95': [float(np.percentile(values, 95)), float(high.std())]}
