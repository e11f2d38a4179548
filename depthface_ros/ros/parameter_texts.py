# SPDX-License-Identifier: Apache-2.0
"""Write config/*.yaml and the tables of the documentation from the node's parameters.

`python -m depthface_ros.ros.parameter_texts config` writes both files into a folder; with
`--markdown` it prints a table of all parameters.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from depthface_ros.ros.parameters import description, leaves

# Parameters that are useful without knowledge of the code. All others are in advanced.yaml.
BASIC = (
    'autostart', 'engine', 'models_folder', 'image_transport', 'depth_unit', 'rectified',
    'publish_tf', 'publish_mesh', 'publish_hri', 'first_id', 'mesh_lifetime', 'input_timeout',
    'diagnostics.rate_warn', 'diagnostics.latency_warn', 'estimator.detector.max_heads',
    'estimator.min_confidence', 'estimator.track_init_max_rotation_std', 'tracker.search_s',
    'tracker.sightings', 'tracker.keep_s', 'tracker.smoothing.enabled', 'tracker.smoothing.cutoff')
FILES = {
    'depthface.yaml': '# The parameters that are worth setting, with their defaults. All others '
                      'are in advanced.yaml.',
    'advanced.yaml': '# Parameters for those who know the code, with their defaults. Copy single '
                     'lines into your own file.',
}


def yaml_text(file: str) -> str:
    """Return the text of one of FILES: each parameter with its description and default."""
    lines = [FILES[file], '# Made by `python -m depthface_ros.ros.parameter_texts config`.', '/**:',
             '  ros__parameters:']
    groups: list[str] = []
    for name, default, metadata in leaves():
        if (name in BASIC) != (file == 'depthface.yaml'):
            continue
        *parents, leaf = name.split('.')
        for depth, parent in enumerate(parents):
            if groups[:depth + 1] != parents[:depth + 1]:
                lines.append(f'{"  " * (depth + 2)}{parent}:')
        groups = parents
        indent = '  ' * (len(parents) + 2)
        lines += [f'{indent}# {line}'
                  for line in textwrap.wrap(description(metadata), 96 - len(indent))]
        lines.append(f'{indent}{leaf}: {yaml_value(default)}')
    return '\n'.join(lines) + '\n'


def yaml_value(value) -> str:
    """Return a default as YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != '' else "''"


def markdown_text(basic: bool = True) -> str:
    """Return a table of the basic parameters, or of all others."""
    lines = ['| parameter | default | |', '|---|---|---|']
    for name, default, metadata in leaves():
        if (name in BASIC) == basic:
            text = description(metadata).replace('<', r'\<')
            lines.append(f'| `{name}` | {yaml_value(default)} | {text} |')
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    if '--markdown' in sys.argv:
        print(markdown_text(), markdown_text(basic=False), sep='\n', end='')
    else:
        for file in FILES:
            (Path(sys.argv[1]) / file).write_text(yaml_text(file))
