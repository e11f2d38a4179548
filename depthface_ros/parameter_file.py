# SPDX-License-Identifier: Apache-2.0
"""Parameter files of ROS nodes, read without ROS."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from depthface_ros.io.errors import one_line
from depthface_ros.io.quoting import clipped
from depthface_ros.settings import leaves, old_names, removed_names, with_values

NODE = 'depthface'  # the name of the node unless it is remapped
PARAMETERS = 'ros__parameters'
log = logging.getLogger(__name__)


def read_parameter_file(file: str | Path, **groups) -> dict[str, Any]:
    """Return groups of settings, as tracker=TrackerConfig(), with the values of a parameter file.

    Parameters of other nodes, and those outside of these groups, are ignored.

    :raises ValueError, OSError: the file cannot be read; a name or a value is invalid.
    """
    given = _of_the_face_node(file, sections(file))
    for group, defaults in groups.items():
        known = {name: rest for name, *rest in leaves(defaults, f'{group}.')}
        renamed = old_names(defaults, f'{group}.')
        for old in given.keys() & renamed.keys():
            log.warning('%s: %s is called %s now', file, old, renamed[old])
        removed = removed_names(defaults, f'{group}.')
        for name in given.keys() & removed:
            log.warning('%s: %s has no effect any more: remove it', file, name)
        values = {renamed.get(name, name): value for name, value in given.items()
                  if name.startswith(f'{group}.') and renamed.get(name) not in given
                  and name not in removed}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f'{file}: there is no parameter {clipped(name, 60)}')
            values[name] = _checked(f'{file}: {name}', value, *known[name])
        groups[group] = with_values(defaults, values, f'{group}.')
    return groups


def sections(file: str | Path) -> dict[str, dict[str, Any]]:
    """Return the parameters in a file, by dotted name, for each pattern of nodes as '/front/*'.

    :raises ValueError, OSError: it is no parameter file.
    """
    from depthface_ros.io.text_files import read_yaml
    try:
        return dict(_sections(read_yaml(file)))
    except OSError:
        raise
    except Exception as error:  # of YAML: errors of its own, RecursionError, others
        raise ValueError(f'{file} is no parameter file: expected NODE: ros__parameters: ..., as '
                         f'in config/depthface.yaml ({one_line(error)})') from error


def applies(pattern: str, node: str) -> bool:
    """Return whether ROS applies the section of a pattern to a node, as '/front/depthface'."""
    tokens = {'*': '/[^/]+', '**': '(/[^/]+)*'}
    parts = [tokens.get(part) or '/' + re.escape(part) for part in pattern.strip('/').split('/')]
    return re.fullmatch(''.join(parts), node) is not None


def _of_the_face_node(file: str | Path, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Merge the sections of the face node, whose namespace is not known, or the only section."""
    own = [parameters for pattern, parameters in found.items()
           if applies(pattern.rpartition('/')[2], f'/{NODE}')]
    if not own and len(found) > 1:
        raise ValueError(f'{file} holds parameters of {clipped(", ".join(found), 200)}: expected '
                         f'a section for the node {NODE}, or for all nodes, /**')
    return {name: value for parameters in own or found.values()
            for name, value in parameters.items()}


def _sections(tree: Mapping, prefix: str = '') -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in tree.items():
        path = f'{prefix}/{name.strip("/")}'
        if PARAMETERS in value:
            yield path, dict(_flat(value[PARAMETERS] or {}))
        else:  # a namespace
            yield from _sections(value, path)


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
        raise ValueError(f'{what} is {clipped(repr(value), 60)}: expected {kind.__name__}')
    if low is not None and not low <= value <= high:
        raise ValueError(f'{what} is {value!r}: expected {low} to {high}')
    return value
