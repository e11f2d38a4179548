# SPDX-License-Identifier: Apache-2.0
"""What the documents say of the node agrees with the code, and their links lead somewhere."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text()
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


def anchor(heading: str) -> str:
    """The name that GitHub gives a heading."""
    return re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')


def test_the_table_of_parameters_is_the_one_the_code_makes():
    pytest.importorskip('rclpy')
    from depthface_ros.ros.parameters import markdown_text
    # `python -m depthface_ros.ros.parameters --markdown` prints it
    assert markdown_text() in README


def test_the_table_of_cameras_is_the_one_that_launch_reads():
    yaml = pytest.importorskip('yaml')
    for name, camera in yaml.safe_load((ROOT / 'config' / 'cameras.yaml').read_text()).items():
        assert (f'| `{name}` | {camera["driver"]} | `{camera["depth_topic"]}` | '
                f'`{camera["info_topic"]}` | {camera["note"]} |') in README


def test_every_launch_argument_is_documented():
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
            assert f'{name}:=' in README, name


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


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
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
