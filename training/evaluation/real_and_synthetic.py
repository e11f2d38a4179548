# SPDX-License-Identifier: Apache-2.0
"""Compare faces of a recording with rendered ones of a similar camera: pictures, tables, a classifier."""
from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from depthface_ros.estimation.estimator import FaceEstimator
from depthface_ros.tools.provenance import measured as measured_by
from training.data.render import add_people_arguments
from training.evaluation.compared_heads import Sighting, recorded_heads, rendered_heads
from training.evaluation.domain_classifier import CUES, PIXEL, Evidence, measured, separate
from training.synthesis.contact_sheet import tile_images
from training.synthesis.scene.cameras import FAMILIES

COLUMNS = 8
ENLARGED = 4  # times, pixels of the evidence
# Regions of the crop: metres up from its centre, which lies 29 mm below the sellion, and to each side.
REGIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    'above the forehead': lambda up, side: up > 0.085,
    'forehead': lambda up, side: (up > 0.045) & (up <= 0.085) & (side < 0.065),
    'eyes': lambda up, side: (up > 0.01) & (up <= 0.045) & (side < 0.065),
    'nose and cheeks': lambda up, side: (up > -0.025) & (up <= 0.01) & (side < 0.065),
    'mouth': lambda up, side: (up > -0.06) & (up <= -0.025) & (side < 0.065),
    'chin': lambda up, side: (up > -0.09) & (up <= -0.06) & (side < 0.065),
    'neck and clothes': lambda up, side: up <= -0.09,
    'beside the face': lambda up, side: (up > -0.09) & (up <= 0.085) & (side >= 0.065)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    def numbers(text: str) -> tuple[float, ...]:
        return tuple(float(number) for number in text.split(','))

    parser.add_argument('--real', type=Path, required=True, help='a bag, or images with depth')
    parser.add_argument('--intrinsics', type=numbers, help='fx,fy[,cx,cy] where images have none')
    parser.add_argument('--step', type=int, default=1, help='use every so many frames')
    parser.add_argument('--family', choices=FAMILIES, default='time_of_flight')
    parser.add_argument('--size', type=lambda text: tuple(int(side) for side in text.split('x')),
                        help='WIDTHxHEIGHT of the camera where frames are crops of its images')
    parser.add_argument('--out', type=Path, default=Path('comparison.png'))
    parser.add_argument('--rows', type=int, default=6)
    parser.add_argument('--synthetic-only', action='store_true',
                        help='draw no real person, for where that may not be shown')
    parser.add_argument('--evidence', type=Path,
                        help='picture of where a classifier finds the difference; it takes minutes')
    parser.add_argument('--json', type=Path, help='all figures')
    add_people_arguments(parser)
    parser.add_argument('--seed', type=int, default=0)


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    estimator = FaceEstimator('cpu')
    real = recorded_heads(options, estimator)
    rendered = rendered_heads(options, real, estimator, rng)
    figures: dict = {'measured': measured_by(), 'recording': options.real.stem, 'family': options.family,
                     'faces': [len(real), len(rendered)],
                     'statistics': statistics(real, rendered)}
    Console().print(statistics_table(figures))
    if options.evidence:
        crops = [torch.stack([seen.aligned() for seen in heads]) for heads in (real, rendered)]
        evidence = {name: separate(*crops, cue, options.seed) for name, cue in CUES.items()}
        coverage = [measured(part).mean((0, 1)).numpy() for part in crops]
        figures['classifier'] = {name: accuracy(part) for name, part in evidence.items()}
        figures['regions'] = regions(evidence['whole crop'].attribution, *coverage)
        Image.fromarray(evidence_picture(coverage, evidence)).save(options.evidence)
        Console().print(classifier_table(figures), region_table(figures))
        print(f'{options.evidence}: measured in recorded and in rendered crops, their difference (red: '
              'rendered crops lack it), evidence of the whole crop and of missing points')
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + '\n')
    save_sheet(options, real, rendered, rng)


def save_sheet(options: argparse.Namespace, real: list[Sighting], rendered: list[Sighting],
               rng: np.random.Generator) -> None:
    """Draw random faces of both domains side by side."""
    columns = [list(rendered)] if options.synthetic_only else [list(real), list(rendered)]
    for heads in columns:
        rng.shuffle(heads)
    width = COLUMNS // len(columns)
    tiles = [heads[(width * row + k) % len(heads)].tile()
             for row in range(options.rows) for heads in columns for k in range(width)]
    Image.fromarray(tile_images(tiles, COLUMNS)).save(options.out)
    print(f'{options.out}: ' + ('' if options.synthetic_only else 'real left, ') + 'synthetic')


def statistics(*domains: list[Sighting]) -> dict[str, list[list[float]]]:
    """Return median, 10th and 90th percentile of each statistic and domain."""
    rows = [[seen.statistics() for seen in heads] for heads in domains]
    return {name: [percentiles([row[name] for row in of_domain]) for of_domain in rows]
            for name in rows[0][0]}


def percentiles(values: list[float]) -> list[float]:
    finite = [value for value in values if np.isfinite(value)]
    return np.percentile(finite, [50, 10, 90]).round(3).tolist() if finite else [float('nan')] * 3


def accuracy(evidence: Evidence) -> list[float]:
    """Return the mean accuracy in percent and its standard deviation over folds."""
    percent = 100 * np.array(evidence.accuracy)
    return [round(float(percent.mean()), 1), round(float(percent.std(ddof=1)), 1)]


def regions(attribution: np.ndarray, real: np.ndarray, rendered: np.ndarray) -> dict[str, list[float]]:
    """Return percent of the evidence, and of pixels with points in both domains, for each region."""
    ticks = (np.arange(len(attribution)) + 0.5 - len(attribution) / 2) * PIXEL
    up, side = np.broadcast_arrays(-ticks[:, None], np.abs(ticks)[None, :])
    return {name: [round(100 * float(value), 1) for value in (
        attribution[inside].sum(), real[inside].mean(), rendered[inside].mean())]
        for name, region in REGIONS.items() for inside in [region(up, side)]}


def evidence_picture(coverage: list[np.ndarray], evidence: dict[str, Evidence]) -> np.ndarray:
    """Return coverage of both domains, their difference and two attributions, side by side."""
    real, rendered = coverage
    lacks, adds = np.clip(real - rendered, 0, 1), np.clip(rendered - real, 0, 1)
    tiles = [np.stack([real] * 3, -1), np.stack([rendered] * 3, -1),
             np.stack([lacks, np.zeros_like(lacks), adds], -1)]
    for name in ('whole crop', 'where points are missing'):
        where = evidence[name].attribution
        tiles.append(np.stack([where / max(where.max(), 1e-12)] * 3, -1) ** 0.5)
    enlarged = [np.kron(tile, np.ones((ENLARGED, ENLARGED, 1))) for tile in tiles]
    return tile_images([(255 * tile).astype(np.uint8) for tile in enlarged], len(tiles))


def statistics_table(figures: dict) -> Table:
    """Return a table of medians with 10th and 90th percentiles."""
    table = Table('', 'real', 'synthetic')
    for name, cells in figures['statistics'].items():
        table.add_row(name, *(f'{middle:.2f} ({low:.2f} to {high:.2f})' for middle, low, high in cells))
    table.add_row('heads', *map(str, figures['faces']))
    return table


def classifier_table(figures: dict) -> Table:
    table = Table('evidence', 'accuracy on people left out, %')
    for name, (mean, spread) in figures['classifier'].items():
        table.add_row(name, f'{mean:.0f} ± {spread:.0f}')
    return table


def region_table(figures: dict) -> Table:
    table = Table('region', 'evidence, %', 'measured, real, %', 'measured, synthetic, %')
    for name, values in figures['regions'].items():
        table.add_row(name, *(f'{value:.0f}' for value in values))
    return table
