# SPDX-License-Identifier: Apache-2.0
"""The tables of README and docs, as Markdown, by name: see figures.py."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'docs' / 'results'
RELIABLE = 8  # coefficients in the short table of expressions

TABLES: dict[str, Callable[[], str]] = {}


def figure(make: Callable[[], str]) -> Callable[[], str]:
    TABLES[make.__name__.replace('_', '-')] = make
    return make


@cache
def results(name: str) -> dict:
    return json.loads((RESULTS / f'{name}.json').read_text())


def table(heading: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(heading)]
    lines += [['---'] * len(lines[0]), *rows]
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines)


def measured(*names: str) -> str:
    """Return when, where and from what code figures come, as a line below a table."""
    parts = []
    for name in names:
        origin = results(name).get('measured', {})
        machine = f', {origin["machine"]}' if origin.get('machine') else ''
        parts.append(f'`{name}.json`: {origin.get("date", "date unknown")}, commit '
                     f'{origin.get("commit", "unknown")}{machine}')
    return f'\n\n*{"; ".join(parts)}*'


# README

@figure
def accuracy() -> str:
    synthetic = results('evaluation')
    rows = []
    for name, group in (('synthetic, 0.4-1.5 m, yaw within ±60°', 'core'),
                        ('synthetic, 0.3-3.5 m, any yaw that shows the face', 'range')):
        row = next(iter(synthetic['groups'][group].values()))
        rows.append([name, f'{row["faces"]}, {100 - row["missed_percent"][0]:.1f} %',
                     f'{_of(row, "geodesic_deg_median", ".1f")}° / '
                     f'{_of(row, "geodesic_deg_p95", ".1f")}°',
                     f'{_of(row, "sellion_mm_median", ".1f")} mm',
                     f'{_of(row, "mesh_surface_mm_mean", ".1f")} mm'])
    return table(['', 'faces, found', 'rotation, median / p95', 'sellion, median',
                  'mesh to surface, mean'], rows + [_real_row()])


def _real_row() -> list[str]:
    row = results('kinect2')['groups']['range']['all']
    return ['**real** Kinect v2, 6 people, marked landmarks',
            f'{row["frames"]}, {100 - row["missed_percent"][0]:.1f} %', 'no truth',
            f'landmarks {_of(row, "landmark_mm_mean", ".1f")} mm, mean',
            f'points {row["mesh_to_points_mm_median"]:.1f} mm, median']


@figure
def speed() -> str:
    figures = results('performance_cpu')
    rows = []
    for who, name in (('cpu', 'depthface, networks in 8 bits'),
                      ('mediapipe', 'MediaPipe face mesh, on colour')):
        cells = [_case(figures, who, heads, way) for heads, way in (
            (1, 'tracked'), (3, 'tracked'), (1, 'searched'))]
        rows.append([name, *(f'{case["wall_ms"][0]:.1f} ms' if case else '' for case in cells),
                     f'{max(case["resident_mb"] for case in cells if case):.0f} MB'])
    return table([f'one core, {figures["machine"]}, 640×480', 'one tracked face', 'three',
                  'one face searched for', 'memory'], rows)


# Accuracy

@figure
def accuracy_groups() -> str:
    return _groups('range', 'core', 'distance')


@figure
def accuracy_yaw() -> str:
    return _groups('yaw')


@figure
def accuracy_occlusion() -> str:
    return _groups('occlusion')


@figure
def accuracy_cameras() -> str:
    return _groups('family', 'camera')


def _groups(*names: str) -> str:
    rows = []
    for name in names:
        for value, row in results('evaluation')['groups'][name].items():
            rows.append([value, row['faces'], _of(row, 'missed_percent', '.1f'),
                         *(_pair(row, key, form) for key, form in (
                             ('geodesic_deg', '.2f'), ('sellion_mm', '.1f'))),
                         f'{_of(row, "mesh_surface_mm_mean", ".2f")} / '
                         f'{_of(row, "mesh_surface_aligned_mm_mean", ".2f")}'])
    return table(['group', 'faces', 'missed %', 'rotation °, median / mean / p95',
                  'sellion mm, median / mean / p95', 'mesh to surface mm, raw / aligned'], rows)


def _pair(row: dict, key: str, form: str) -> str:
    return ' / '.join(_of(row, f'{key}_{kind}', form) for kind in ('median', 'mean', 'p95'))


@figure
def accuracy_measured() -> str:
    return measured('evaluation')


@figure
def false_faces() -> str:
    figures = results('evaluation')
    rows = [[distance, row['faces'], _of(row, 'missed_percent', '.1f'),
             _of(row, 'false_per_100_frames', '.2f')]
            for distance, row in figures['distances'].items()]
    rows.append(['all', figures['faces'],
                 _of(figures['groups']['range']['all'], 'missed_percent', '.1f'),
                 '{:.2f} ± {:.2f}'.format(*figures['false_faces_per_100_frames'])])
    return table(['distance', 'faces', 'missed %', 'false faces per 100 frames'], rows)


@figure
def uncertainty() -> str:
    meaning = {'turn_x': 'roll, about x of the face', 'turn_y': 'pitch, about y of the face',
               'turn_z': 'yaw, about z of the face', 'shift_x': 'across the ray, to the right',
               'shift_y': 'across the ray, down', 'shift_z': 'along the ray'}
    rows = [[meaning.get(name, name), *(f'{_of(row, f"within_{k}_sigma", ".1f")} %'
                                        for k in (1, 2))]
            for name, row in sorted(results('evaluation')['within_sigma'].items())]
    return table(['error', 'within one sigma (normal: 68 %)', 'within two (95 %)'], rows)


@figure
def expressions() -> str:
    return _expressions(None)


@figure
def expressions_best() -> str:
    return _expressions(RELIABLE)


def _expressions(count: int | None) -> str:
    best = sorted(results('evaluation')['expression'].items(),
                  key=lambda item: -item[1]['correlation'][0])[:count]
    return table(['coefficient', 'correlation with the truth', 'mean error',
                  'error of always guessing the median'],
                 [[f'`{name}`', *(_of(row, key, '.3f') for key in (
                     'correlation', 'error', 'guess_error'))] for name, row in best])


@figure
def real_frames() -> str:
    row = results('kinect2')['groups']['range']['all']
    return table(['figure', 'value'], [
        ['frames of one person each', row['frames']],
        ['missed', f'{row["missed_percent"][0]:.1f} %'],
        ['other faces: bystanders, false ones', row['surplus_faces']],
        ['landmarks across the ray, a constant per point removed, mean',
         f'{_of(row, "landmark_mm_mean", ".1f")} mm'],
        ['opening of the mouth: correlation, slope', _mouth(row, 'opening')],
        ['width of the mouth (smiles, funnels): correlation, slope', _mouth(row, 'width')],
        *_label_free(row)]) + measured('kinect2')


@figure
def real_sr305() -> str:
    row = results('sr305')['groups']['range']['all']
    return table(['figure', 'value'], [
        ['images of one person', row['frames']],
        ['images in which the face is found', row['frames_with_faces']],
        ['other faces', row['surplus_faces']],
        *_label_free(row)]) + measured('sr305')


def _label_free(row: dict) -> list[list[str]]:
    return [['measured points to mesh, median', f'{row["mesh_to_points_mm_median"]:.2f} mm'],
            ['mirrored copy: rotation differs by', f'{row["mirror_deg_median"]:.2f}°'],
            ['rolled copy (20°): rotation differs by', f'{row["roll_deg_median"]:.2f}°']]


@figure
def real_landmarks() -> str:
    points = results('kinect2')['groups']['points']['mean error mm']
    return table(['landmark', 'mean error, mm', 'standard error'], [
        [name, f'{value:.1f}', f'{error:.1f}'] for name, (value, error) in points.items()])


def _mouth(row: dict, name: str) -> str:
    return ', '.join(_of(row, f'mouth_{name}_{kind}', '.2f') for kind in ('correlation', 'slope'))


# Tracking

@figure
def smoothing() -> str:
    rows = []
    for row in results('smoothing')['rows']:
        lag = [None if row[name] is None else f'{row[name]:.0f}'
               for name in ('turn_lag_ms', 'move_lag_ms')]
        rows.append([row['images'], row['faces'],
                     f'{row["rotation_deg"]:.2f}° / {row["sellion_mm"]:.2f} / {row["mesh_mm"]:.1f}',
                     f'{row["rotation_jitter_deg"]:.2f}° / {row["sellion_jitter_mm"]:.2f} / '
                     f'{row["vertex_jitter_mm"]:.2f}',
                     '' if None in lag else ' / '.join(lag)])
    return table(['images', 'faces', 'error: rotation / sellion mm / mesh mm',
                  'jitter: rotation / sellion mm / vertices mm', 'lag ms: turning / moving'],
                 rows) + measured('smoothing')


# Performance

@figure
def performance() -> str:
    figures = results('performance_cpu')
    mediapipe = {(case['size'], case['way']): case for case in figures['cases']
                 if case['who'] == 'mediapipe'}
    rows = []
    for case in figures['cases']:
        if case['size'] not in ('640x480', '1280x720'):
            continue
        other = mediapipe[case['size'], case['way']] if case['heads'] == 1 else None
        rows.append([f'`{case["who"]}`', f'{case["size"]}, {case["way"]}', case['faces'],
                     '{:.1f} / {:.1f}'.format(*case['wall_ms']), f'{case["cpu_ms"][0]:.1f}',
                     f'{case["cpu_ms"][0] / other["cpu_ms"][0]:.1f}' if other else '',
                     f'{case["resident_mb"]:.0f}'])
    return table(['engine', 'image', 'faces', 'ms, median / p95', 'CPU ms', 'of MediaPipe',
                  'MB'], rows) + measured('performance_cpu')


@figure
def stages() -> str:
    cases = [case for case in results('performance_cpu')['cases']
             if case.get('engine') and case['size'] == '640x480' and case['who'] == 'cpu']
    names = list(dict.fromkeys(name for case in sorted(
        cases, key=lambda case: case['way']) for name in case['stages_cpu_ms']))
    return table(['', 'faces', *names], [
        [case['way'], case['faces'], *(
            f'{case["stages_cpu_ms"][name][0]:.2f}' if name in case['stages_cpu_ms'] else ''
            for name in names)] for case in cases])


@figure
def node() -> str:
    figures = results('performance_cpu')['node']
    rows = [[f'{heads} faces' if heads != '1' else 'one face', *_node_row(row)]
            for heads, row in figures['faces'].items()]
    rows.append(['a node that only answers', *_node_row(figures['relay'])])
    text = table([f'640×480 at {figures["rate_hz"]:.0f} Hz', 'images answered',
                  'stamp to publication ms, median / p95', 'CPU ms per image', '% of a core'],
                 rows)
    return text + '\n\n' + table(['whole node', 'value'], [
        ['start to first face', f'{figures["start_to_first_face_s"]:.1f} s'],
        ['resident memory', f'{figures["resident_mb"]:.0f} MB'],
        ['without images', f'{figures["idle_percent"]:.1f} % of a core']])


def _node_row(row: dict) -> list[str]:
    return [f'{100 * row["answered"]:.0f} %', '{:.1f} / {:.1f}'.format(*row['published_ms']),
            f'{row["cpu_ms_per_image"]:.1f}', f'{row["cpu_percent"]:.0f}']


@figure
def core_limits() -> str:
    limits = results('performance_cpu')['limits']
    return table(['limit of one core, measured', ''], [
        ['floats', f'{limits["gflops_fp32"]:.0f} GFLOP/s'],
        ['bytes', f'{limits["gops_int8"]:.0f} Gop/s'],
        ['copies', f'{limits["copy_gb_s"]:.0f} GB/s']])


def _case(figures: dict, who: str, heads: int, way: str, size: str = '640x480') -> dict | None:
    return next((case for case in figures['cases'] if (
        case['who'], case['heads'], case['way'], case['size']) == (who, heads, way, size)), None)


def _of(row: dict, key: str, form: str) -> str:
    value = row.get(key)
    return '-' if value is None or value[0] != value[0] else format(value[0], form)


# From the code

@figure
def parameters() -> str:
    from depthface_ros.ros.parameter_texts import markdown_text
    return markdown_text()


@figure
def cameras() -> str:
    import yaml
    presets = yaml.safe_load((ROOT / 'config' / 'cameras.yaml').read_text())
    return table(['`camera:=`', 'driver', 'depth image', 'camera_info', ''], [
        [f'`{name}`', camera['driver'], f'`{camera["depth_topic"]}`',
         f'`{camera["info_topic"]}`', camera['note']] for name, camera in presets.items()])
