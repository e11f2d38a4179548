# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: one frozen dataclass that defines names, defaults, ranges and texts."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Parameters:
    """All settings of the node; `ros2 param describe` prints the texts below."""

    autostart: bool = setting(
        True, 'Configure and activate at start; false leaves that to a lifecycle manager.',
        read_at='start')
    engine: str = setting(
        'auto', 'Runtime of the networks; auto tries tensorrt, cuda and cpu, in this order.',
        choices=('auto', *ENGINES), read_at='configure')
    models_folder: str = setting(
        '', 'Folder of the networks, as `python -m training adapt` writes it; empty: those of the '
        'package.', read_at='configure')
    image_transport: str = setting(
        'raw', 'Transport of the images; others than raw are appended to the name of the topic. '
        'A topic that is named so already needs no setting.', choices=('raw', *TRANSPORTS),
        read_at='configure')
    depth_unit: float = setting(
        0.0, 'Metres per unit of the pixels, such as 0.0001; 0: as the encoding says, millimetres '
        'for integers and metres for floats.', 0.0, 1.0, read_at='configure')
    rectified: bool = setting(
        False, 'The image is rectified: use P and ignore D of camera_info. Needed only if D is '
        'not zero and the name of the topic lacks "rect" after its last slash.',
        read_at='configure')
    publish_tf: bool = setting(True, 'Publish face_<id> and gaze_<id> on /tf.')
    publish_mesh: bool = setting(True, 'Publish meshes on ~/mesh while there is a subscriber.')
    publish_hri: bool = setting(
        True, 'Publish /humans/faces for ROS4HRI (REP-155) if hri_msgs is installed. Of several '
        'cameras that see people, one may do so.')
    first_id: int = setting(
        1, 'Number of the first face. Ids are global. Give each node its own range: 1, 1001, '
        '2001.', 1, 1_000_000_000, read_at='start')
    mesh_lifetime: float = setting(
        0.5, 'Seconds for which a viewer keeps a mesh without an update; 0 keeps it.', 0.0, 60.0)
    input_timeout: float = setting(
        5.0, 'Seconds without an image or camera_info before the node warns.', 0.1, 3600.0)
    diagnostics: HealthConfig = HealthConfig()
    estimator: EstimatorConfig = EstimatorConfig()
    tracker: TrackerConfig = TrackerConfig()


def leaves() -> Iterator[tuple[str, Any, Mapping]]:
    """Yield name, default and metadata of each parameter; nested ones are named 'outer.inner'."""
    return settings.leaves(Parameters())


def old_names() -> dict[str, str]:
    """Return the current name of each parameter that had another one in earlier releases."""
    return settings.old_names(Parameters())


def removed_names() -> set[str]:
    """Return the names of parameters of earlier releases that have no effect any more."""
    return settings.removed_names(Parameters())


def declare_parameters(node: Node) -> list[str]:
    """Declare one ROS parameter per setting; return the old names that were given values.

    Removed names that were given values are among them.

    :raises ValueError: a value of another type than its setting's.
    """
    old_name_of = {name: old for old, name in old_names().items()}
    used = []
    for name, default, metadata in leaves():
        old, value = old_name_of.get(name), default
        if old and (given := _given(node, old)) is not None:
            used.append(old)
            value = given
        if (given := _given(node, name)) is not None:
            value = given
        value = as_declared(value, default)
        _check_type(name, value, default)
        node.declare_parameter(name, value, _descriptor(name, default, metadata),
                               ignore_override=True)
    return used + [name for name in sorted(removed_names()) if _given(node, name) is not None]


def as_declared(value: Any, default: Any) -> Any:
    """Return a value for a setting: a whole number becomes a float where the default is one."""
    return float(value) if isinstance(default, float) and type(value) is int else value


def _check_type(name: str, value: Any, default: Any) -> None:
    if type(value) is not type(default):
        raise ValueError(f'parameter {name} is {value!r}: expected a {type(default).__name__}')


def _given(node: Node, name: str) -> Any:
    """Return the value that a parameter file or `-p` gives to a name, or None."""
    value = node.declare_parameter(name, None, ParameterDescriptor(dynamic_typing=True)).value
    node.undeclare_parameter(name)
    return value


def read_parameters(node: Node, changes: Mapping[str, Any] = MappingProxyType({})) -> Parameters:
    """Return the settings as ROS holds them now, with changes.

    :raises ValueError: a value of another type, or not one of its setting's choices.
    """
    values = {}
    for name, default, metadata in leaves():
        value = values[name] = changes[name] if name in changes else node.get_parameter(name).value
        _check_type(name, value, default)
        choices = metadata.get('choices')
        if choices and value not in choices:
            raise ValueError(
                f'parameter {name} is {value!r}: expected one of {", ".join(choices)}')
    return settings.with_values(Parameters(), values)


def read_at(name: str) -> str:
    """Return when a parameter is read: 'start', 'configure', or '' for at any time."""
    return next((metadata['read_at'] for each, _, metadata in leaves() if each == name), '')


def description(metadata: Mapping) -> str:
    """Return the text of a setting, its choices, and when it is read."""
    text = metadata['description']
    if metadata['choices']:
        text += f' One of: {", ".join(metadata["choices"])}.'
    if metadata['read_at']:
        text += f' Read at {metadata["read_at"]}.'
    return text


def _descriptor(name: str, default, metadata: Mapping) -> ParameterDescriptor:
    low, high = metadata['minimum'], metadata['maximum']
    descriptor = ParameterDescriptor(description=description(metadata),
                                     read_only=metadata['read_at'] == 'start')
    if low is not None and isinstance(default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif low is not None:
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor
