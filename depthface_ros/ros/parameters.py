# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: one frozen dataclass, from which ROS learns names, ranges and texts."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from depthface_ros import settings
from depthface_ros.engines import ENGINES
from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.io.compressed_depth import TRANSPORTS
from depthface_ros.ros.health import HealthConfig
from depthface_ros.settings import setting
from depthface_ros.tracking.tracks import TrackerConfig

# Read when the node is made, and whenever it is configured; all others can change at any time.
READ_ONLY = ('autostart', 'first_id')
READ_AT_CONFIGURE = ('engine', 'image_transport', 'depth_unit', 'rectified',
                     'estimator.shape_looks', 'estimator.alignment.', 'estimator.refine',
                     'estimator.surface')


@dataclass(frozen=True)
class Parameters:
    """What a user of the node can set; `ros2 param describe` prints the texts below."""

    autostart: bool = setting(
        True, 'Configure and activate at start; false leaves that to a lifecycle manager.')
    engine: str = setting(
        'auto', 'What runs the networks; auto takes the fastest that works here.',
        choices=('auto', *ENGINES))
    image_transport: str = setting(
        'raw', 'Transport of the images; others than raw are appended to the name of the topic. '
        'A topic that is named so already needs no setting.', choices=('raw', *TRANSPORTS))
    depth_unit: float = setting(
        0.0, 'Metres per unit of the pixels, such as 0.0001; 0: as the encoding says, millimetres '
        'for integers and metres for floats.', 0.0, 1.0)
    rectified: bool = setting(
        False, 'The image is rectified: use P and ignore D of camera_info. Needed only if D is '
        'not zero and the name of the topic lacks "rect" after its last slash.')
    publish_tf: bool = setting(True, 'Publish face_<id> and gaze_<id> on /tf.')
    publish_mesh: bool = setting(True, 'Publish meshes on ~/mesh while somebody subscribes.')
    publish_hri: bool = setting(
        True, 'Publish /humans/faces for ROS4HRI (REP-155) if hri_msgs is installed. Of several '
        'cameras that see people, one may do so.')
    first_id: int = setting(
        1, 'Number of the first face. /tf and /humans/faces are shared by all: of several nodes '
        'each needs another thousand.', 1, 1_000_000_000)
    mesh_lifetime: float = setting(
        0.5, 'Seconds for which a viewer keeps a mesh without an update; 0 keeps it.', 0.0, 60.0)
    input_timeout: float = setting(
        5.0, 'Seconds without an image or camera_info before the node complains.', 0.1, 3600.0)
    diagnostics: HealthConfig = HealthConfig()
    estimator: EstimatorConfig = EstimatorConfig()
    tracker: TrackerConfig = TrackerConfig()


def leaves() -> Iterator[tuple[str, Any, Mapping]]:
    """Name, default and metadata of each parameter; nested ones are named 'outer.inner'."""
    return settings.leaves(Parameters())


def declare_parameters(node: Node) -> None:
    """Declare one ROS parameter per setting."""
    for name, default, metadata in leaves():
        node.declare_parameter(name, default, _descriptor(name, default, metadata))


def read_parameters(node: Node, changes: Mapping[str, Any] = MappingProxyType({})) -> Parameters:
    """The settings as ROS holds them now, or as they are to become.

    :raises ValueError: a value of another type, or not one of its setting's choices.
    """
    values = {}
    for name, default, metadata in leaves():
        value = values[name] = changes[name] if name in changes else node.get_parameter(name).value
        if type(value) is not type(default):
            raise ValueError(f'parameter {name} is {value!r}: expected a '
                             f'{type(default).__name__}')
        choices = metadata.get('choices')
        if choices and value not in choices:
            raise ValueError(
                f'parameter {name} is {value!r}: expected one of {", ".join(choices)}')
    return settings.with_values(Parameters(), values)


def _meaning(name: str, metadata: Mapping) -> str:
    """The text of a setting, its choices, and when it is read."""
    text = metadata['description']
    if metadata['choices']:
        text += f' One of: {", ".join(metadata["choices"])}.'
    if name in READ_ONLY:
        text += ' Read at start.'
    elif name.startswith(READ_AT_CONFIGURE):
        text += ' Read at configure.'
    return text


def _descriptor(name: str, default, metadata: Mapping) -> ParameterDescriptor:
    low, high = metadata['minimum'], metadata['maximum']
    descriptor = ParameterDescriptor(
        description=_meaning(name, metadata), read_only=name in READ_ONLY)
    if low is not None and isinstance(default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif low is not None:
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor


def yaml_text() -> str:
    """A parameter file with every parameter, its meaning and default: config/depthface.yaml."""
    lines = ['# Every parameter with its default, by `python -m depthface_ros.ros.parameters`.',
             '/**:', '  ros__parameters:']
    groups: tuple[str, ...] = ()
    for name, default, metadata in leaves():
        *parents, leaf = name.split('.')
        for depth, parent in enumerate(parents):
            if groups[:depth + 1] != tuple(parents[:depth + 1]):
                lines.append(f'{"  " * (depth + 2)}{parent}:')
        groups = tuple(parents)
        indent = '  ' * (len(parents) + 2)
        lines += [f'{indent}# {line}'
                  for line in textwrap.wrap(_meaning(name, metadata), 96 - len(indent))]
        value = str(default).lower() if isinstance(default, bool) else default
        lines.append(f'{indent}{leaf}: {value}')
    return '\n'.join(lines) + '\n'


def markdown_text() -> str:
    """A table of the parameters that are in no group: README.md has it."""
    lines = ['| parameter | default | |', '|---|---|---|']
    for name, default, metadata in leaves():
        if '.' not in name:
            value = str(default).lower() if isinstance(default, bool) else default
            meaning = _meaning(name, metadata).replace('<', r'\<')
            lines.append(f'| `{name}` | {value} | {meaning} |')
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    print(markdown_text() if '--markdown' in sys.argv else yaml_text(), end='')
