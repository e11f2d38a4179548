# SPDX-License-Identifier: Apache-2.0
"""Tables of the figures of an evaluation."""
from __future__ import annotations

import io
import math
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from training.evaluation.comparison import BEYOND_NOISE, Change
from training.evaluation.figures import NEAR, WITHIN, better_than_mean, verdict

COLUMNS = {  # heading -> figures of a group, and their form
    'missed %': (('missed_percent',), '.1f'),
    'rotation deg median/mean': (('geodesic_deg_median', 'geodesic_deg_mean'), '.2f'),
    'p95': (('geodesic_deg_p95',), '.1f'),
    'MAE deg pyr/ypr': (('mae_pyr_deg_mean', 'mae_ypr_deg_mean'), '.2f'),
    'sellion mm median/mean': (('sellion_mm_median', 'sellion_mm_mean'), '.1f'),
    'mesh mm raw/aligned': (('mesh_mm_mean', 'mesh_aligned_mm_mean'), '.2f'),
    'mesh surface raw/aligned': (('mesh_surface_mm_mean', 'mesh_surface_aligned_mm_mean'), '.2f'),
    'face mm raw/aligned': (('face_mm_mean', 'face_aligned_mm_mean'), '.2f'),
    'face surface raw/aligned': (('face_surface_mm_mean',
                                  'face_surface_aligned_mm_mean'), '.2f'),
    'expression': (('expression_mean',), '.3f'),
}
WIDTH = 180


def print_figures(tree: dict, console: Console | None = None, style=box.SIMPLE_HEAD) -> None:
    """Print all tables of an evaluation."""
    console = console or Console(width=WIDTH)
    for table in _tables(tree):
        table.box, table.title_justify = style, 'left'
        console.print(table)
    console.print('mesh: mean over all vertices, camera frame; face: without ears and hairline;'
                  ' surface: to the nearest point of the true surface; aligned: after the '
                  'best rotation and shift, never scaled')


def write_markdown(tree: dict, file: Path) -> None:
    """Write all tables of an evaluation as Markdown."""
    text = io.StringIO()
    print_figures(tree, Console(file=text, width=4 * WIDTH), box.MARKDOWN)
    lines, in_table = [], False
    for line in map(str.rstrip, text.getvalue().splitlines()):
        is_rule = line.startswith('|-')
        if not (is_rule and in_table):  # a table may have one rule, below its heading
            lines.append(line)
        in_table = line.startswith('|') and (in_table or is_rule)
    file.write_text('\n'.join(lines) + '\n')


def _tables(tree: dict) -> list[Table]:
    tables = [_groups(tree), _distances(tree), _within_sigma(tree)]
    return tables + [_expression(tree)] if tree['expression'] else tables


def _text(figure, form: str) -> str:
    return '-' if figure is None or math.isnan(figure[0]) else format(figure[0], form)


def _groups(tree: dict) -> Table:
    false = tree['false_faces_per_100_frames']
    table = Table(title=f'{tree["frames"]} frames, {tree["faces"]} faces half in view and '
                        f'measured, {false[0]:.1f} ± {false[1]:.1f} false faces per 100 frames')
    table.add_column('group', no_wrap=True)
    for heading in ('faces', *COLUMNS):
        table.add_column(heading, justify='right')
    for rows in tree['groups'].values():
        for value, row in rows.items():
            table.add_row(value, str(row['faces']), *(
                ' / '.join(_text(row.get(name), form) for name in names)
                for names, form in COLUMNS.values()))
        table.add_section()
    return table


def _distances(tree: dict) -> Table:
    table = Table('distance', 'faces', 'missed %', 'false faces per 100 frames',
                  title='Misses and false faces')
    for value, row in tree['distances'].items():
        table.add_row(value, str(row['faces']), _text(row['missed_percent'], '.1f'),
                      _text(row['false_per_100_frames'], '.2f'))
    return table


def _within_sigma(tree: dict) -> Table:
    table = Table('error', *(f'within {k} sigma, aim {aim:.0f} %' for k, aim in WITHIN.items()),
                  title='Calibration of the predicted uncertainties')
    for name, row in tree['within_sigma'].items():
        table.add_row(name, *(_text(row[f'within_{k}_sigma'], '.1f') for k in WITHIN))
    return table


def _expression(tree: dict) -> Table:
    better = len(better_than_mean(tree['expression']))
    table = Table('coefficient', 'correlation', 'error', 'error of a guess', 'explained %',
                  f'within {NEAR:g} m %', 'seen',
                  title=f'Expression, best first; within {NEAR:g} m {better} coefficients err less '
                        "than the prior's mean")
    rows = sorted(tree['expression'].items(), key=lambda item: -item[1]['correlation'][0])
    for name, row in rows:
        table.add_row(name, *(_text(row[part], '.3f') for part in
                              ('correlation', 'error', 'guess_error')),
                      *(_text(row[part], '.0f') for part in (
                          'explained_percent', 'explained_percent_near')),
                      verdict(row['correlation'][0]))
    return table


def print_changes(found: list[Change], console: Console | None = None) -> None:
    """Print the changes since an earlier evaluation."""
    console = console or Console(width=WIDTH)
    if not found:
        console.print(f'Nothing changed by more than {BEYOND_NOISE:g} standard errors.')
        return
    table = Table('figure', 'before', 'now', 'standard errors', '',
                  title=f'Changed by more than {BEYOND_NOISE:g} standard errors')
    for change in found:
        table.add_row(change.name, f'{change.before:.4g}', f'{change.now:.4g}',
                      f'{change.sigmas:.1f}', 'worse' if change.worse else 'better')
    console.print(table)
