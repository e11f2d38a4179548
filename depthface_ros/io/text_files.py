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
    """Return what a YAML file of one document holds; see :func:`read_yaml_documents`."""
    documents = read_yaml_documents(file)
    if len(documents) != 1:
        raise ValueError(f'it holds {len(documents)} YAML documents: expected one')
    return documents[0]


def read_yaml_documents(file: str | Path) -> list:
    """Return the documents of a YAML file. `ros2 topic echo` separates messages so.

    :raises ValueError, ruamel.yaml.YAMLError, RecursionError: it is larger than `MAX_TEXT_BYTES`,
        no YAML, or has aliases: nested ones become gigabytes, and ROS does not read them either.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.events import AliasEvent
    text = _text(file)
    if text.startswith('%YAML:'):  # OpenCV's FileStorage, whose matrices have a tag of its own
        text = text.partition('\n')[2].replace('!!opencv-matrix', '')
    if any(isinstance(event, AliasEvent) for event in YAML(typ='safe').parse(text)):
        raise ValueError('it has YAML aliases (*name): write the values in their places')
    documents = list(YAML(typ='safe').load_all(text)) or [None]
    # A separator at the end begins no document.
    return documents[:-1] if len(documents) > 1 and documents[-1] is None else documents


def _text(file: str | Path) -> str:
    with Path(file).open('rb') as opened:
        content = opened.read(MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        raise ValueError(f'it has more than {MAX_TEXT_BYTES} bytes: expected a few kilobytes')
    return content.decode()
