# SPDX-License-Identifier: Apache-2.0
"""Report of an adaptation: one table of figures before and after, and a warning if it got worse."""
from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from depthface_ros import FaceEstimator
from depthface_ros.estimation.alignment import AlignmentConfig
from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.io.frame import Frame
from training.adapt.datasets import Labelled
from training.data.augment import observe, shape_batch
from training.data.rendered_dataset import FaceWindows
from training.evaluation.landmarks import landmark_figures, landmark_records
from training.evaluation.self_consistency import self_consistency_figures
from training.models.networks import FaceShapeNet
from training.train.shape import shape_figures

FILES = ('report.json', 'report.md')
TOLERANCE = 0.02  # relative change that counts as worse, above noise of rounding
UP, DOWN, INFORMATION = 1, -1, 0  # the direction in which a figure is better


class Row(NamedTuple):
    """One figure before and after."""

    where: str  # the frames or faces that it was measured on
    figure: str
    before: float
    after: float
    better: int  # UP, DOWN or INFORMATION

    @property
    def worse(self) -> bool:
        """Whether the figure got worse by more than TOLERANCE, or is not finite any more."""
        if not self.better or not math.isfinite(self.before):
            return False
        return not self.better * (self.after - self.before) >= -TOLERANCE * abs(self.before)


# Figures of the recording: name -> direction in which they are better.
LABEL_FREE = {'frames_with_faces': UP, 'faces': INFORMATION,
              'likely_false_faces_per_100_images': DOWN, 'confidence_median': INFORMATION,
              'mesh_to_points_mm_median': DOWN, 'mesh_to_points_mm_p90': DOWN,
              'mirror_found_again': UP, 'mirror_deg_median': DOWN, 'mirror_mm_median': DOWN,
              'roll_found_again': UP, 'roll_deg_median': DOWN, 'roll_mm_median': DOWN}
LANDMARKS = {'missed_percent': DOWN, 'landmark_mm_mean': DOWN, 'mouth_opening_correlation': UP,
             'mouth_width_correlation': UP, 'mouth_opening_slope_error': DOWN,
             'mouth_width_slope_error': DOWN}
SYNTHETIC = {'shape_mm': DOWN, 'posed_mm': DOWN, 'deg_median': DOWN, 'expression': DOWN}
SYNTHETIC_FACES = 512  # at most
STAGES = {'recording, networks alone': EstimatorConfig(alignment=AlignmentConfig(steps=0)),
          'recording, whole pipeline': EstimatorConfig()}


def recording_rows(before: Path, after: Path, held_out: Callable[[], Iterable[Frame]]) -> list[Row]:
    """Return label-free figures of held-out frames, for both folders of networks."""
    rows = []
    for stage, config in STAGES.items():
        estimators = [FaceEstimator('cpu', config, models_folder=folder)
                      for folder in (before, after)]
        figures = [self_consistency_figures(estimator, held_out()) for estimator in estimators]
        rows += _rows(stage, *figures, LABEL_FREE)
    return rows


def empty_rows(before: Path, after: Path, recording: Iterable[Frame]) -> list[Row]:
    """Return the faces that both folders of networks find where nobody is."""
    frames = list(recording)
    figures = [{'false_faces_per_100_images': 100 * sum(
        len(estimator(frame.depth, frame.intrinsics)) for frame in frames) / max(len(frames), 1)}
        for estimator in (FaceEstimator('cpu', models_folder=folder) for folder in (before, after))]
    return _rows('recording without people', *figures, {'false_faces_per_100_images': DOWN})


def labelled_rows(before: Path, after: Path, samples: list[Labelled]) -> list[Row]:
    """Return errors against marked landmarks."""
    figures = []
    for folder in (before, after):
        records, both = landmark_records(samples, FaceEstimator('cpu', models_folder=folder))
        row = landmark_figures(records, both, '')['groups']['range']['all']
        values = {name: value[0] for name, value in row.items()}
        figures.append(values | {f'{name}_error': abs(value - 1) for name, value in values.items()
                                 if name.endswith('slope')})
    return _rows('marked landmarks', *figures, LANDMARKS)


def synthetic_rows(before: FaceShapeNet, after: FaceShapeNet, pools: Path) -> list[Row]:
    """Return true errors of the shape network on synthetic faces.

    :param pools: rendered data sets; without a `windows-validation` there is no row.
    """
    if not (pools / 'windows-validation').exists():
        return []
    batch = synthetic_faces(pools)
    figures = [synthetic_figures(network, batch) for network in (before, after)]
    return _rows('synthetic faces', *figures, SYNTHETIC)


def synthetic_faces(pools: Path) -> dict[str, Tensor]:
    """Return a fixed batch of strangers before all sensors, from `windows-validation`."""
    windows = FaceWindows.load(pools / 'windows-validation')
    generator = torch.Generator().manual_seed(1)
    faces = torch.nonzero(windows.is_face)[:SYNTHETIC_FACES, 0]
    return shape_batch(observe(windows, faces, generator, other_sensors=False), generator)


def synthetic_figures(network: FaceShapeNet, batch: dict[str, Tensor]) -> dict[str, float]:
    """Return the true errors of a network on a labelled batch."""
    template = torch.from_numpy(FaceModel.load().template.copy())
    return {name.removeprefix('_'): value
            for name, value in shape_figures(network.eval(), batch, template).items()}


def _rows(where: str, before: dict[str, float], after: dict[str, float],
          better: dict[str, int]) -> list[Row]:
    return [Row(where, name, before[name], after[name], direction)
            for name, direction in better.items() if name in before and name in after]


def write_report(out: Path, rows: list[Row], about: dict) -> str:
    """Write the report as JSON and Markdown into a folder; return its verdict."""
    worse = [row for row in rows if row.worse]
    changes = '; '.join('{1} ({0}) {2} -> {3}'.format(*_cells(row)) for row in worse)
    verdict = 'Nothing got worse.' if not worse else (
        f'WARNING, worse than before: {changes}. Keep the old networks unless pictures of both '
        'show otherwise.')
    facts = [f'- {name.replace("_", " ")}: {value}' for name, value in about.items()]
    table = ['| measured on | figure | before | after | |', '|---|---|---|---|---|',
             *('| ' + ' | '.join(_cells(row)) + ' |' for row in rows)]
    json_file, page = (out / name for name in FILES)
    json_file.write_text(json.dumps(about | {
        'worse': [f'{row.where}: {row.figure}' for row in worse],
        'rows': [row._asdict() for row in rows]}, indent=1) + '\n')
    page.write_text('\n'.join(['# Adaptation', '', *facts, '', *table, '', verdict, '']))
    return verdict


def print_report(rows: list[Row], verdict: str) -> None:
    table = Table('measured on', 'figure', 'before', 'after', '', title='Before and after')
    for row in rows:
        table.add_row(*_cells(row))
    Console(width=120).print(table)
    print(verdict)


def _cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a table; the last is 'worse' or 'better' beyond TOLERANCE, else empty."""
    swapped = row._replace(before=row.after, after=row.before)
    sign = 'worse' if row.worse else 'better' if swapped.worse else ''
    return (row.where, row.figure.replace('_', ' '), f'{row.before:.4g}', f'{row.after:.4g}', sign)
