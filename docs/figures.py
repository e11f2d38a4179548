# SPDX-License-Identifier: Apache-2.0
"""Fill the marked blocks of README and docs: `make figures`.

A block stands between `<!-- figure: NAME -->` and `<!-- end -->`. Its text comes from the JSON
files in docs/results, which evaluation, benchmarks and demo write, or from the code.
`--check` changes nothing; the exit status is 1 if a block is stale.
"""
from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'docs')]

import comparison_tables  # noqa: F401  registers its tables
import figure_tables  # noqa: F401
import performance_tables  # noqa: F401
import stream_tables  # noqa: F401
from markdown_tables import TABLES

BLOCK = re.compile(r'(<!-- figure: ([\w-]+) -->\n).*?(<!-- end -->)', re.DOTALL)


def pages() -> list[Path]:
    return [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]


def filled(text: str) -> str:
    """Return a page with fresh blocks. A block whose source cannot be loaded stays.

    :raises KeyError: there is no figure of a block's name.
    """
    def block(match: re.Match) -> str:
        head, name, end = match.groups()
        try:
            body = TABLES[name]()
        except ImportError as error:
            print(f'{name} is left as it is: {error}', file=sys.stderr)
            return match.group()
        return f'{head}{body.strip()}\n{end}'

    return BLOCK.sub(block, text)


def stale_pages() -> list[Path]:
    """Return the pages with blocks that differ from their sources."""
    return [page for page in pages() if filled(page.read_text()) != page.read_text()]


def main() -> int:
    stale = stale_pages()
    for page in stale:
        if '--check' in sys.argv:
            print(f'{page.relative_to(ROOT)} is stale: run `make figures`')
        else:
            page.write_text(filled(page.read_text()))
            print(f'{page.relative_to(ROOT)}: filled')
    return int(bool(stale) and '--check' in sys.argv)


if __name__ == '__main__':
    sys.exit(main())
