# SPDX-License-Identifier: Apache-2.0
"""Markdown tables of a benchmark run."""
from __future__ import annotations

# stage -> network
STAGES = {'find heads': 'head_finder', 'pose network': 'head_pose', 'shape network': 'face_shape'}
SEARCHED_PASSES = {'face_shape': 2}  # of faces that are searched for; others run once


def tables(result: dict) -> str:
    """Return all tables of a run."""
    parts = [end_to_end(result), stages(result), roofline(result)]
    if 'node' in result:
        parts.append(node(result['node']))
    if result['not_measured']:
        parts.append('Not measured: ' + '; '.join(
            f'{name}: {reason}' for name, reason in result['not_measured'].items()) + '.')
    return '\n\n'.join(parts)


def end_to_end(result: dict) -> str:
    """Return wall and processor milliseconds, and the ratio to MediaPipe at equal size and way."""
    mediapipe = {(case['size'], case['way']): case for case in result['cases']
                 if case['who'] == 'mediapipe'}
    rows = []
    for case in result['cases']:
        other = mediapipe.get((case['size'], case['way'])) if case['heads'] == 1 else None
        ratio = f'{case["cpu_ms"][0] / other["cpu_ms"][0]:.2f}' if other else ''
        rows.append([case['who'], case['size'], case['way'], case['faces'], *_two(case['wall_ms']),
                     f'{case["cpu_ms"][0]:.2f}', ratio, f'{case["resident_mb"]:.0f}'])
    return _table(['who', 'size', 'way', 'faces', 'mean ms', 'p95 ms', 'CPU ms', 'CPU / MediaPipe',
                   'MB'], rows)


def stages(result: dict) -> str:
    """Return the mean processor milliseconds of each stage at 640x480."""
    cases = [case for case in result['cases'] if 'engine' in case and case['size'] == '640x480']
    names = ('find heads', 'pose crop', 'pose network', 'shape crop', 'shape network', 'alignment',
             'refiner', 'surface', 'end to end')
    rows = []
    for case in cases:
        took = case['stages_cpu_ms']
        rows.append([case['who'], case['way'], case['faces'],
                     *(f'{took[name][0]:.2f}' if name in took else '' for name in names)])
    return _table(['who', 'way', 'faces', *names], rows)


def roofline(result: dict) -> str:
    """Return the roofline: time of each network at the machine's limits, and the part reached."""
    limits, rows = result['limits'], []
    cases = {(case['who'], case['way'], case['heads']): case for case in result['cases']
             if case['size'] == '640x480' and case['who'] in ('cpu', 'cpu_fp32')}
    for (who, way, heads), case in cases.items():
        in_bytes = 'int8' in case['engine']
        speed = limits['gops_int8' if in_bytes else 'gflops_fp32']
        for stage, network in STAGES.items():
            # Of a stream most images run some networks only.
            if way != 'searched' or heads > 1:
                continue
            work = result['networks'][network]
            passes = SEARCHED_PASSES.get(network, 1)
            operations = passes * work['mflop']
            moved = passes * work['mbytes'] / (4 if in_bytes else 1)
            floor = max(operations / speed, moved / limits['copy_gb_s'])
            took = case['stages_cpu_ms'][stage][0]
            rows.append([who, heads, stage, f'{operations:.0f}', f'{moved:.1f}',
                         f'{floor:.2f}', f'{took:.2f}', f'{100 * floor / took:.0f} %'])
    text = (f'Limits of one core, measured: {limits["gflops_fp32"]:.0f} GFLOP/s in floats, '
            f'{limits["gops_int8"]:.0f} Gop/s in bytes, {limits["copy_gb_s"]:.0f} GB/s copied.')
    return text + '\n\n' + _table(['who', 'faces', 'stage', 'Mop', 'MB', 'floor ms',
                                   'took CPU ms', 'share'], rows)


def node(figures: dict) -> str:
    """Return the figures of the node over DDS."""
    text = (f'The node on 640x480 at {figures["rate_hz"]:.0f} Hz: first face '
            f'{figures["start_to_first_face_s"]:.1f} s after its start '
            f'({figures["start_to_first_face_cpu_s"]:.1f} s of processor time; a node that only '
            f'answers needs {figures["start_to_first_answer_s"]:.1f} s), '
            f'{figures["resident_mb"]:.0f} MB, {figures["idle_percent"]:.1f} % of a core without '
            'images.')
    rows = [[heads, f'{row["faces"]:.0f}', *_node_row(row)]
            for heads, row in figures['faces'].items()]
    rows.append(['a node that only answers', '', *_node_row(figures['relay'])])
    return text + '\n\n' + _table(
        ['faces', 'found', 'images answered', 'stamp to publication p50 ms', 'p95 ms',
         'stamp to reception p50 ms', 'p95 ms', 'CPU ms per image', '% of a core'], rows)


def _node_row(row: dict) -> list[str]:
    return [f'{100 * row["answered"]:.0f} %', *_two(row['published_ms']), *_two(row['latency_ms']),
            f'{row["cpu_ms_per_image"]:.1f}', f'{row["cpu_percent"]:.0f}']


def _two(values: list[float]) -> list[str]:
    return [f'{value:.2f}' for value in values]


def _table(head: list[str], rows: list[list]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines)
