# SPDX-License-Identifier: Apache-2.0
"""Tables in Markdown from the JSON files of docs/results, by name."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'docs' / 'results'

TABLES: dict[str, Callable[[], str]] = {}


def figure(make: Callable[[], str]) -> Callable[[], str]:
    """Register a function that makes a table under its name."""
    TABLES[make.__name__.replace('_', '-')] = make
    return make


@cache
def results(name: str) -> dict:
    """Return the content of docs/results/NAME.json."""
    return json.loads((RESULTS / f'{name}.json').read_text())


def table(heading: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table in Markdown."""
    lines = [list(heading)]
    lines += [['---'] * len(lines[0]), *rows]
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines)


def measured(*names: str) -> str:
    """Return when, where and from what code figures come, as a line below a table."""
    parts = []
    for name in names:
        origin = results(name).get('measured', {})
        machine = f', {origin["machine"]}' if origin.get('machine') else ''
        parts.append(f'`{name}.json`: {origin.get("date", "date unknown")}, commit '
                     f'{origin.get("commit", "unknown")}{machine}')
    return f'\n\n*{"; ".join(parts)}*'


def cell(row: dict, key: str, form: str) -> str:
    """Return a figure [value, error] of a row as text, '-' where it is missing or NaN."""
    value = row.get(key)
    return '-' if value is None or value[0] != value[0] else format(value[0], form)
