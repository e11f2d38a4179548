# SPDX-License-Identifier: Apache-2.0
"""Fields of configuration dataclasses with their descriptions and ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, fields, is_dataclass, replace
from typing import Any


def setting(default, description: str, minimum=None, maximum=None, choices: tuple = (),
            read_at: str = '', old_name: str = ''):
    """Return a dataclass field from which a ROS parameter can be declared.

    :param minimum, maximum: the closed range of a number, or None for any.
    :param choices: the values a text may have, or () for any.
    :param read_at: 'start' or 'configure' of the node; empty: a change counts at once.
    :param old_name: the name of the setting in earlier releases, which is still accepted.
    """
    return field(default=default, metadata={
        'description': description, 'minimum': minimum, 'maximum': maximum, 'choices': choices,
        'read_at': read_at, 'old_name': old_name})


def group(config: type, read_at: str = '', old_name: str = ''):
    """Return a dataclass field of nested settings, all of them read at one time."""
    return field(default_factory=config, metadata={'read_at': read_at, 'old_name': old_name})


def leaves(defaults, prefix: str = '', read_at: str = '',
           old_prefix: str = '') -> Iterator[tuple[str, Any, Mapping]]:
    """Yield name, default and metadata of each setting; nested ones are named 'outer.inner'.

    `old_name` in the metadata is nested as well, and empty if it is the current name.
    """
    for item in fields(defaults):
        name, default = prefix + item.name, getattr(defaults, item.name)
        old_name = (old_prefix or prefix) + (item.metadata.get('old_name') or item.name)
        read_at_of_item = item.metadata.get('read_at') or read_at
        if is_dataclass(default):
            yield from leaves(default, f'{name}.', read_at_of_item, f'{old_name}.')
        else:
            yield name, default, {**item.metadata, 'read_at': read_at_of_item,
                                  'old_name': old_name if old_name != name else ''}


def old_names(defaults, prefix: str = '') -> dict[str, str]:
    """Return the current name of each setting by its old name, both dotted."""
    return {metadata['old_name']: name
            for name, _, metadata in leaves(defaults, prefix) if metadata['old_name']}


def removed_names(defaults, prefix: str = '') -> set[str]:
    """Return the dotted names of settings of earlier releases that have no effect any more.

    A configuration lists them in a class variable `REMOVED`.
    """
    nested = ((getattr(defaults, item.name), f'{prefix}{item.name}.') for item in fields(defaults))
    return {prefix + name for name in getattr(defaults, 'REMOVED', ())}.union(*(
        removed_names(inner, outer) for inner, outer in nested if is_dataclass(inner)))


def with_values(defaults, values: Mapping[str, Any], prefix: str = ''):
    """Copy a dataclass, and those nested in it, with values by dotted name."""
    return replace(defaults, **{
        item.name: with_values(default, values, f'{prefix}{item.name}.') if is_dataclass(default)
        else values.get(prefix + item.name, default)
        for item in fields(defaults) for default in [getattr(defaults, item.name)]})
