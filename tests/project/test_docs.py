# SPDX-License-Identifier: Apache-2.0
"""README and docs agree with the code, their links resolve, and their tables are current."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / 'README.md'
PAGES = [README, ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md'))]
sys.path.append(str(ROOT / 'docs'))

import figures


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchor(heading: str) -> str:
    """Return the anchor that GitHub and MkDocs generate for a heading."""
    return re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-')


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_tables_are_those_that_make_figures_writes(page):
    if '<!-- figure: parameters -->' in page.read_text():
        pytest.importorskip('rclpy')
    assert figures.filled(page.read_text()) == page.read_text(), 'stale: run `make figures`'


def test_a_stale_table_is_found():
    page = README.read_text()
    stale = re.sub(r'(<!-- figure: accuracy -->.*?)\d+\.\d', r'\g<1>99.9', page, count=1,
                   flags=re.DOTALL)
    assert stale != page and figures.filled(stale) == page


def test_a_block_of_an_unknown_figure_is_refused():
    with pytest.raises(KeyError):
        figures.filled('<!-- figure: no-such-figure -->\n<!-- end -->')


def test_every_figure_is_on_a_page():
    shown = {name for page in PAGES for _, name, _ in figures.BLOCK.findall(page.read_text())}
    assert shown == set(figures.TABLES)


def test_pages_are_short():
    assert len(README.read_text().splitlines()) <= 150
    for page in PAGES:
        assert len(page.read_text().splitlines()) <= 160, name_of(page)


def test_the_first_robot_command_stands_on_the_first_screen():
    lines = README.read_text().splitlines()
    assert next(i for i, line in enumerate(lines, 1) if line.startswith('ros2 launch')) <= 25


def test_every_launch_argument_is_documented():
    page = (ROOT / 'docs' / 'guide' / 'ros-api.md').read_text()
    for file in ('depthface', 'replay'):
        tree = ast.parse((ROOT / 'launch' / f'{file}.launch.py').read_text())
        arguments = [ast.literal_eval(node.args[0]) for node in ast.walk(tree)
                     if isinstance(node, ast.Call) and getattr(node.func, 'id', '') ==
                     'DeclareLaunchArgument' and isinstance(node.args[0], ast.Constant)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'ARGUMENTS':
                arguments += [ast.literal_eval(item.elts[0]) for item in node.value.elts]
        assert arguments
        for name in arguments:
            assert f'{name}:=' in page, name


def test_the_files_for_viewers_show_what_the_node_publishes():
    yaml = pytest.importorskip('yaml')
    rviz = yaml.safe_load((ROOT / 'config' / 'depthface.rviz').read_text())
    topics = {display['Topic']['Value'] for display in rviz['Visualization Manager']['Displays']
              if 'Topic' in display}
    assert topics == {'/depthface/mesh', '/depth/image'}  # launch remaps them
    foxglove = json.loads((ROOT / 'config' / 'foxglove.json').read_text())
    panels = set(re.findall(r'\w+!\w+', json.dumps(foxglove['layout'])))
    assert panels == set(foxglove['configById'])
    assert '/depthface/mesh' in foxglove['configById']['3D!faces']['topics']


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if target.startswith(('http', 'mailto:')):
            continue
        file, _, heading = target.partition('#')
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        if heading:
            assert heading in {anchor(line.lstrip('# ')) for line in
                               linked.read_text().splitlines() if line.startswith('#')}, target


def test_the_documentation_builds_without_a_warning(tmp_path):
    pytest.importorskip('mkdocs')
    pytest.importorskip('mkdocstrings')
    done = subprocess.run([sys.executable, '-m', 'mkdocs', 'build', '--strict', '--quiet',
                           '--site-dir', str(tmp_path / 'site')], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'site' / 'guide' / 'api.html').is_file()
