# SPDX-License-Identifier: Apache-2.0
"""Tables of recorded beside rendered faces, and of adaptation to people; see figures.py."""
from __future__ import annotations

from markdown_tables import figure, measured, results, table

from training.experiments.adapt_people_table import caption, table_cells

CAMERAS = {'compare_kinect2': 'Kinect v2', 'compare_sr305': 'SR305'}


@figure
def real_and_rendered() -> str:
    """Return medians and percentiles of both cameras and their simulations."""
    cameras = [results(name) for name in CAMERAS]
    heading = ['median (10th to 90th percentile)']
    for name, camera in zip(CAMERAS.values(), cameras):
        heading += [name, camera['family'].replace('_', ' ')]
    rows = [[name.replace('_', ' '), *(_spread(*cell) for camera in cameras
                                       for cell in camera['statistics'][name])]
            for name in cameras[0]['statistics']]
    rows.append(['faces', *(count for camera in cameras for count in camera['faces'])])
    return table(heading, rows) + measured(*CAMERAS)


@figure
def domain_classifier() -> str:
    """Return the accuracy of the classifier by cue."""
    cameras = [results(name)['classifier'] for name in CAMERAS]
    return table(['cue', *(f'{name}: accuracy, %' for name in CAMERAS.values())],
                 [[cue, *(f'{camera[cue][0]:.0f} ± {camera[cue][1]:.0f}' for camera in cameras)]
                  for cue in cameras[0]])


@figure
def domain_evidence() -> str:
    """Return where the evidence of whole crops lies, and the fractions that are measured."""
    cameras = [results(name)['regions'] for name in CAMERAS]
    heading = ['region']
    for name in CAMERAS.values():
        heading += [f'{name}: evidence, %', 'measured, %', 'rendered, %']
    rows = [[region, *(f'{value:.0f}' for camera in cameras for value in camera[region])]
            for region in cameras[0]]
    return table(heading, rows)


def _spread(middle: float, low: float, high: float) -> str:
    return f'{middle:.2f} ({low:.2f}-{high:.2f})' if middle == middle else '-'


@figure
def adapt_people() -> str:
    """Return the figures of ways to adapt, with changes and their standard errors."""
    return _study('adapt_people')


def _study(name: str) -> str:
    study = results(name)
    return caption(study) + '\n\n' + table(*table_cells(study)) + measured(name)
