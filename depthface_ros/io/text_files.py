# SPDX-License-Identifier: Apache-2.0
"""Small JSON and YAML files that cannot be expensive to read."""
from __future__ import annotations

import json
from pathlib import Path

MAX_TEXT_BYTES = 1 << 18  # parsing YAML in Python takes seconds per megabyte


def read_json(file: str | Path):
    """Return what a JSON file holds.

    :raises ValueError, RecursionError: it is larger than `MAX_TEXT_BYTES` or no JSON.
    """
    return json.loads(_text(file))


def read_yaml(file: str | Path):
    """Return what a YAML file holds.

    :raises ValueError, ruamel.yaml.YAMLError, RecursionError: it is larger than `MAX_TEXT_BYTES`,
        no YAML, or has aliases: nested ones become gigabytes, and ROS does not read them either.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.events import AliasEvent
    text = _text(file)
    if any(isinstance(event, AliasEvent) for event in YAML(typ='safe').parse(text)):
        raise ValueError('it has YAML aliases (*name): write the values in their places')
    return YAML(typ='safe').load(text)


def _text(file: str | Path) -> str:
    with Path(file).open('rb') as opened:
        content = opened.read(MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        raise ValueError(f'it has more than {MAX_TEXT_BYTES} bytes: expected a few kilobytes')
    return content.decode()
