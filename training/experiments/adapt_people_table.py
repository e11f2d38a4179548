# SPDX-License-Identifier: Apache-2.0
"""The table of the study of adaptation to people, for the terminal and for the documentation."""
from __future__ import annotations

import numpy as np

from training.experiments.studies import change

BEFORE = 'before'
FIGURES = {'landmark_mm_mean': 'landmarks, mm',
           'mouth_opening_correlation': 'mouth opening, correlation',
           'mouth_opening_slope': 'mouth opening, slope',
           'mouth_width_correlation': 'mouth width, correlation',
           'mouth_width_slope': 'mouth width, slope',
           'mouth_width_change_slope': 'mouth width, slope within a person',
           'mesh_to_points_mm_median': 'points to mesh, mm',
           'mirror_deg_median': 'mirrored copy, deg', 'mirror_mm_median': 'mirrored copy, mm',
           'synthetic_shape_mm': 'synthetic strangers: shape, mm',
           'synthetic_posed_mm': 'synthetic strangers: mesh in its pose, mm',
           'other_frames_with_faces': 'other camera: images with faces',
           'other_faces': 'other camera: faces',
           'other_mesh_to_points_mm_median': 'other camera: points to mesh, mm',
           'other_mirror_deg_median': 'other camera: mirrored copy, deg'}


def table_cells(summary: dict) -> tuple[list[str], list[list[str]]]:
    """Return the heading and the rows of a table with a column for each way to adapt.

    Cells hold means over groups of people and seeds, the change against `before` and its standard
    error over groups. `-`: not measured for all runs. The last row has the number of seeds.

    :param summary: what `adapt-people --json` writes.
    """
    columns = summary['rows']
    before = columns[BEFORE]
    after = {name: figures for name, figures in columns.items() if name != BEFORE}
    rows = [[text, f'{np.mean(before[name]):.2f}', *(
        '{:.2f} ({:+.2f} ± {:.2f})'.format(*change(figures[name], before[name]))
        if name in figures else '-' for figures in after.values())]
        for name, text in FIGURES.items() if name in before]
    rows.append(['seeds', '-', *(str(len(next(iter(figures.values())))) for figures in after.values())])
    return ['', BEFORE, *after], rows


def caption(summary: dict) -> str:
    """Return what the study did and what its cells hold."""
    return (f'{summary["folds"]} groups of people, each left out once; {summary["steps"]} steps of '
            f'{summary["batch"]} crops of each domain, learning rate {summary["learning_rate"]:g}; '
            f'judged on one image in {summary["judge_every"]}. In brackets: change, and its standard '
            'error over groups.')
