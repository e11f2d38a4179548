# SPDX-License-Identifier: Apache-2.0
"""Fields of configuration dataclasses that know what they mean and which values they take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any


def setting(default, description: str, minimum=None, maximum=None, choices: tuple = ()):
    """A dataclass field from which ROS parameters and command line options can be made.

    :param minimum, maximum: the closed range of a number, or None for any.
    :param choices: the values a text may have, or () for any.
    """
    return field(default=default, metadata={'description': description, 'minimum': minimum,
                                            'maximum': maximum, 'choices': choices})


def leaves(defaults, prefix: str = '') -> Iterator[tuple[str, Any, Mapping]]:
    """Name, default and metadata of each setting; nested ones are named 'outer.inner'."""
    for item in fields(defaults):
        name, default = prefix + item.name, getattr(defaults, item.name)
        if is_dataclass(default):
            yield from leaves(default, f'{name}.')
        else:
            yield name, default, item.metadata


def with_values(defaults, values: Mapping[str, Any], prefix: str = ''):
    """A copy of a dataclass, and of those nested in it, with values by dotted name."""
    return replace(defaults, **{
        item.name: with_values(default, values, f'{prefix}{item.name}.') if is_dataclass(default)
        else values.get(prefix + item.name, default)
        for item in fields(defaults) for default in [getattr(defaults, item.name)]})


def read_parameter_file(file: Path, **groups) -> dict[str, Any]:
    """Groups of settings, as tracker=TrackerConfig(), with the values of a ROS parameter file.

    What else is in the file is the node's business.

    :raises ValueError, OSError: the file, a name in these groups, or a value makes no sense.
    """
    from ruamel.yaml import YAML, YAMLError
    try:
        nodes = YAML(typ='safe').load(file.read_text())
        given = dict(pair for node in nodes.values()
                     for pair in _flat(node['ros__parameters']))
    except (YAMLError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f'{file} is no parameter file: expected NODE: ros__parameters: ..., as '
                         f'in config/depthface.yaml ({error})') from error
    for group, defaults in groups.items():
        known = {name: rest for name, *rest in leaves(defaults, f'{group}.')}
        values = {name: value for name, value in given.items() if name.startswith(f'{group}.')}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f'{file}: there is no parameter {name}')
            values[name] = _checked(f'{file}: {name}', value, *known[name])
        groups[group] = with_values(defaults, values, f'{group}.')
    return groups


def _flat(tree: Mapping, prefix: str = '') -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f'{prefix}{name}.')
        else:
            yield prefix + name, value


def _checked(what: str, value, default, metadata: Mapping):
    kind, low, high = type(default), metadata['minimum'], metadata['maximum']
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ValueError(f'{what} is {value!r}: expected {kind.__name__}')
    if low is not None and not low <= value <= high:
        raise ValueError(f'{what} is {value!r}: expected {low} to {high}')
    return value
