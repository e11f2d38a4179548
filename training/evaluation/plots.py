# SPDX-License-Identifier: Apache-2.0
"""Plots of an evaluation. Needs matplotlib."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from depthface_ros.face_model.mesh import EXPRESSION_NAMES
from training.evaluation.errors import AXIS_ERRORS, Record
from training.evaluation.figures import SEEN, expression
from training.evaluation.frames import Trial
from training.evaluation.groups import column, counted, grouped, in_core
from training.evaluation.worst_cases import worst_cases_sheet

try:
    from matplotlib import pyplot as plt
except ImportError as missing:
    raise ImportError(f'plots need matplotlib ({missing}): pip install matplotlib') from missing

plt.switch_backend('Agg')  # needs no screen

UNITS = {'geodesic_deg': 'rotation error, degrees', 'sellion_mm': 'sellion error, mm',
         'face_mm': 'face error, mm, no alignment', 'face_surface_mm': 'face to true surface, mm'}
CUT = {'geodesic_deg': 15, 'sellion_mm': 25, 'face_mm': 20, 'face_surface_mm': 10}
ORDERED = ('distance', 'yaw', 'occlusion')  # groups along an axis
BINS = 8  # of a reliability plot, with equal numbers of faces


def draw_all(records: list[Record], trial: Trial, folder: Path) -> None:
    """Write all plots into a folder as PNG files, and a contact sheet of the worst cases."""
    faces = [record for record in records if counted(record)]
    found = [record for record in faces if record['found']]
    if len(found) < BINS:
        raise ValueError(f'{len(found)} faces were found: plots need {BINS} at least, so more '
                         'frames, or networks that are trained')
    for name, draw, shown in (
            ('cumulative', draw_cumulative, faces), ('errors_by', draw_errors_by, records),
            ('reliability', draw_reliability, found),
            ('confidence', draw_confidence, records), ('expression', draw_expression, found)):
        figure = draw(shown)
        figure.savefig(folder / f'{name}.png', dpi=110)
        plt.close(figure)
    worst_cases_sheet(records, trial, folder / 'worst.png')


def draw_cumulative(faces: list[Record]):
    """Plot the fraction of faces over their largest error; missed ones count as infinite."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout='constrained')
    for axis, (name, label) in zip(axes.flat, UNITS.items()):
        for title, members in (('all', faces), ('0.4-1.5 m, yaw to 60', [
                record for record in faces if in_core(record)])):
            if members:
                errors = np.sort(np.nan_to_num(column(members, name), nan=np.inf))
                axis.step(errors, 100 * np.arange(1, len(errors) + 1) / len(errors), label=title)
        axis.set(xlim=(0, CUT[name]), ylim=(0, 100), xlabel=label, ylabel='% of faces, missed too')
        axis.grid(alpha=0.3)
    axes[0, 0].legend(loc='lower right')
    return figure


def draw_errors_by(records: list[Record]):
    """Plot median and 95th percentile of errors, and misses, for the groups of the tables."""
    names = (*ORDERED, 'family', 'camera')
    figure, axes = plt.subplots(4, len(names), figsize=(4 * len(names), 12), sharey='row',
                                layout='constrained')
    for k, name in enumerate(names):
        groups = grouped(records, name)
        labels = [f'{value}\n({len(members)})' for value, members in groups.items()]
        places = np.arange(len(groups))
        for row, error in enumerate(('geodesic_deg', 'sellion_mm', 'face_mm')):
            for percent, style, label in ((95, 'o--', '95th percentile'), (50, 's-', 'median')):
                axes[row, k].plot(places, [_percentile(column(members, error), percent)
                                           for members in groups.values()],
                                  style if name in ORDERED else style[0], label=label)
            axes[row, 0].set_ylabel(UNITS[error])
        axes[3, k].bar(places, [100 * np.mean([not record['found'] for record in members])
                                for members in groups.values()])
        for axis in axes[:, k]:
            axis.set_xticks(places, [])
            axis.grid(alpha=0.3)
        axes[3, k].set_xticklabels(labels, rotation=60, ha='right', fontsize=8)
        axes[0, k].set_title(f'by {name}')
    axes[3, 0].set_ylabel('missed, %')
    for axis in axes[:, 0]:  # the other columns use the same labels
        axis.set_ylim(bottom=0)
    axes[0, 0].legend()
    return figure


def draw_reliability(found: list[Record]):
    """Plot measured over predicted errors by axis; calibrated ones lie on the diagonal."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 5.2), layout='constrained')
    for axis, errors, unit in ((axes[0], AXIS_ERRORS[3:], 'degrees'),
                               (axes[1], AXIS_ERRORS[:3], 'mm')):
        for error in errors:
            predicted, measured = column(found, f'{error}_std'), np.abs(column(found, error))
            axis.plot(*_in_bins(predicted, measured, lambda values: np.percentile(values, 68.27)),
                      'o-', label=error.rsplit('_', 1)[0])
        ends = np.percentile([column(found, f'{error}_std') for error in errors], [1, 99])
        axis.plot(ends, ends, 'k--', linewidth=1, label='agreement')
        axis.set(xscale='log', yscale='log', xlabel=f'predicted sigma, {unit}',
                 ylabel=f'68 % of errors are within, {unit}')
        axis.legend()
        axis.grid(alpha=0.3, which='both')
    return figure


def draw_confidence(records: list[Record]):
    """Plot errors, and the fraction of true faces, over the confidence."""
    found = [record for record in records if record['found']]
    real = [record for record in found if record['real']]
    figure, axes = plt.subplots(1, 3, figsize=(15, 5), layout='constrained')
    for axis, error in zip(axes, ('geodesic_deg', 'face_mm')):
        axis.scatter(column(real, 'confidence'), column(real, error), s=5, alpha=0.4)
        axis.set(yscale='log', xlabel='confidence', ylabel=UNITS[error])
    confidence = column(found, 'confidence')
    is_real = np.array([100. * record['real'] for record in found])
    axes[2].plot(*_in_bins(confidence, is_real, np.mean), 'o-', label='real faces')
    axes[2].plot([0, 1], [0, 100], 'k--', linewidth=1, label='agreement')
    axes[2].hist(confidence[is_real == 0], 20, range=(0, 1), alpha=0.4,
                 label='number of false faces')
    axes[2].set(xlabel='confidence', ylabel='% that are real')
    axes[2].legend()
    for axis in axes:
        axis.grid(alpha=0.3)
    return figure


def draw_expression(found: list[Record]):
    """Plot the correlation of each expression coefficient with the truth, the highest first."""
    rows = expression(found)
    names = sorted(EXPRESSION_NAMES, key=lambda name: -rows[name]['correlation'][0])
    value, error = np.array([rows[name]['correlation'] for name in names]).T
    figure, axis = plt.subplots(figsize=(13, 5), layout='constrained')
    axis.bar(range(len(names)), value, yerr=error,
             color=['tab:green' if each >= SEEN else 'tab:gray' for each in value])
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axis.set(ylabel='correlation with the truth', xlim=(-1, len(names)))
    axis.grid(axis='y', alpha=0.3)
    return figure


def _percentile(values: np.ndarray, percent: float) -> float:
    values = values[np.isfinite(values)]
    return float(np.percentile(values, percent)) if len(values) else np.nan


def _in_bins(by: np.ndarray, values: np.ndarray, figure: Callable) -> tuple[list, list]:
    """Return the median of `by` and a figure of `values` for bins of equal counts."""
    parts = np.array_split(np.argsort(by), BINS)
    return ([float(np.median(by[part])) for part in parts],
            [float(figure(values[part])) for part in parts])
