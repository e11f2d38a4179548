# SPDX-License-Identifier: Apache-2.0
"""Tables of speed: README and docs/results/performance.md."""
from __future__ import annotations

from markdown_tables import figure, measured, results, table


@figure
def speed() -> str:
    figures = results('performance_cpu')
    rows = []
    in_bytes = any('int8' in case.get('engine', '') for case in figures['cases']
                   if case['who'] == 'cpu')
    for who, name in (('cpu', f'depthface, networks in {"8 bits" if in_bytes else "floats"}'),
                      ('mediapipe', 'MediaPipe face mesh, on colour')):
        cells = [_case(figures, who, heads, way) for heads, way in (
            (1, 'tracked'), (3, 'tracked'), (1, 'searched'))]
        rows.append([name, *(f'{case["wall_ms"][0]:.1f} ms' if case else '' for case in cells),
                     f'{max(case["resident_mb"] for case in cells if case):.0f} MB'])
    return table([f'one core, {figures["machine"]}, 640×480', 'one tracked face', 'three',
                  'one face searched for', 'memory'], rows)


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
    return table(['engine', 'image', 'faces', 'ms, mean / p95', 'CPU ms', 'of MediaPipe',
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
