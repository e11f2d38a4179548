# SPDX-License-Identifier: Apache-2.0
"""The package declares its dependencies, installs its files, and its core needs no ROS."""

from __future__ import annotations

import ast
import importlib
import os
import runpy
import subprocess
import sys
import types
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import setuptools

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ElementTree.parse(ROOT / 'package.xml').getroot()
# What rosdep or the ROS distribution call the modules that this package imports.
KEYS = {'numpy': 'python3-numpy', 'cv2': 'python3-opencv', 'yaml': 'python3-yaml'}
# No rosdep key on apt: users install these with pip, see README.md. The last ones are optional.
PIP_ONLY = {'array_api_compat', 'onnxruntime', 'numba', 'rosbags', 'ruamel', 'rerun', 'rich', 'torch',
            'tensorrt', 'onnx', 'cuda', 'backports', 'lz4'}
# Python's own from some version on: compression from 3.14.
LATER_PYTHON = {'compression'}
# Used where it is installed; not every ROS distribution has it.
OPTIONAL = {'hri_msgs'}


def core_files() -> list[Path]:
    """Return the Python files of the package outside ros/."""
    package = ROOT / 'depthface_ros'
    return [file for file in sorted(package.rglob('*.py'))
            if file.relative_to(package).parts[0] != 'ros']


def imported(files) -> set[str]:
    """Return top-level names of all imported modules, without Python's own."""
    names = set()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text()))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition('.')[0])
    return names - set(sys.stdlib_module_names) - LATER_PYTHON - {'depthface_ros'}


def dependencies(kind: str) -> set[str]:
    return {element.text for element in PACKAGE.iter(kind)}


def test_package_xml_names_exactly_what_is_imported():
    files = [file for folder in ('depthface_ros', 'launch')
             for file in (ROOT / folder).rglob('*.py')]
    needed = {KEYS.get(name, name) for name in imported(files) - PIP_ONLY - OPTIONAL}
    assert dependencies('exec_depend') == needed


@pytest.fixture
def setup_arguments(monkeypatch):
    """Return the arguments that setup.py passes to setuptools."""
    told = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **arguments: told.update(arguments))
    monkeypatch.chdir(ROOT)
    runpy.run_path('setup.py')
    return told


def test_name_version_and_licence_agree(setup_arguments):
    for key in ('name', 'version', 'license', 'description'):
        assert setup_arguments[key] == PACKAGE.find(key).text
    assert PACKAGE.find('export/build_type').text == 'ament_python'
    assert 'Apache License' in (ROOT / PACKAGE.find('license').get('file')).read_text()


def test_everything_that_is_installed_exists(setup_arguments):
    name = setup_arguments['name']
    installed = {folder: files for folder, files in setup_arguments['data_files']}
    assert all((ROOT / file).is_file() for files in installed.values() for file in files)
    assert installed['share/ament_index/resource_index/packages'] == [f'resource/{name}']
    assert set(installed[f'share/{name}/launch']) == {
        'launch/depthface.launch.py', 'launch/replay.launch.py'}
    assert set(installed[f'share/{name}/config']) == {
        f'config/{file}' for file in ('advanced.yaml', 'cameras.yaml', 'depthface.rviz',
                                      'depthface.yaml', 'fastdds.xml', 'foxglove.json')}
    packages = setup_arguments['packages']
    assert all((ROOT / p.replace('.', '/') / '__init__.py').is_file() for p in packages)
    assert {name, f'{name}.ros', f'{name}.engines'} <= set(packages)


def test_console_scripts_name_functions(setup_arguments):
    entries = setup_arguments['entry_points']['console_scripts']
    scripts = dict(entry.replace(' ', '').split('=') for entry in entries)
    assert set(scripts) == {'depthface', 'depthface_node'}
    for target in scripts.values():
        module, function = target.split(':')
        if '.ros.' in module:
            pytest.importorskip('rclpy')
        assert callable(getattr(importlib.import_module(module), function))


def test_the_core_imports_without_ros():
    """Import every module outside ros/ while no module of ROS can be imported."""
    modules = ['.'.join(file.relative_to(ROOT).with_suffix('').parts) for file in core_files()]
    code = f'''
import importlib, sys
class NoRos:
    def find_spec(self, name, path=None, target=None):
        top = name.partition('.')[0]
        if top.startswith(('rcl', 'rosidl', 'ament', 'launch', 'tf2')) or top.endswith('_msgs'):
            raise ImportError(f'{{name}} is of ROS')
sys.meta_path.insert(0, NoRos())
for name in {modules!r}:
    if not name.endswith('.__main__'):
        importlib.import_module(name.removesuffix('.__init__'))
'''
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('program', ['depthface_ros.cli', 'depthface_ros.ros'])
def test_programs_give_numpy_one_thread_unless_the_user_sets_another_number(program):
    code = f'''if True:
        import os, sys
        class Watch:
            def find_spec(self, name, *_):
                if name == 'numpy':
                    print(os.environ.get('OMP_NUM_THREADS'))
        sys.meta_path.insert(0, Watch())
        import {program}, numpy'''
    environment = {key: value for key, value in os.environ.items() if key != 'OMP_NUM_THREADS'}
    for of_user, expected in (({}, '1'), ({'OMP_NUM_THREADS': '3'}, '3')):
        done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
                              env=environment | of_user)
        assert done.stdout.split()[:1] == [expected], done.stderr


def test_only_the_ros_folder_imports_ros():
    assert imported(core_files()) <= PIP_ONLY | KEYS.keys()


def test_the_parameter_file_holds_every_parameter_with_its_default():
    pytest.importorskip('rclpy')
    from depthface_ros.ros.parameter_texts import BASIC, FILES, yaml_text
    from depthface_ros.ros.parameters import leaves
    for file in FILES:
        assert (ROOT / 'config' / file).read_text() == yaml_text(file)
    assert set(BASIC) <= {name for name, *_ in leaves()} and len(BASIC) <= 25


class Recorded:
    """Stands in for a class of `launch`: keeps the arguments of its constructor."""

    def __init__(self, *positional, **named):
        self.positional, self.named = positional, named


@pytest.fixture
def launch_file(monkeypatch):
    """The launch file as a module, and the text that launch arguments have in it.

    Needs no ROS, unlike test_launch.py, which runs the real thing.
    """
    pytest.importorskip('yaml')
    values = {}

    class LaunchConfiguration(Recorded):
        def perform(self, context):
            return values[self.positional[0]]

    for name, members in {
            'launch': ['LaunchDescription'],
            'launch.actions': ['DeclareLaunchArgument', 'OpaqueFunction', 'SetEnvironmentVariable'],
            'launch.substitutions': [LaunchConfiguration],
            'launch_ros': [], 'launch_ros.actions': ['LifecycleNode', 'Node'],
    }.items():
        module = types.ModuleType(name)
        for member in members:
            kind = type(member, (Recorded,), {}) if isinstance(member, str) else member
            setattr(module, kind.__name__, kind)
        monkeypatch.setitem(sys.modules, name, module)
    return runpy.run_path(str(ROOT / 'launch' / 'depthface.launch.py')), values


def test_the_launch_file_starts_the_node_on_the_topics_of_the_camera(launch_file):
    module, values = launch_file
    *arguments, opaque = module['generate_launch_description']().positional[0]
    values |= {argument.positional[0]: argument.named['default_value'] for argument in arguments}
    assert all(argument.named['description'] for argument in arguments)
    assert Path(values['params_file']).is_file()

    def remappings(**changed):
        values.update(changed)
        node, = opaque.named['function'](None)
        assert node.named['package'] == 'depthface_ros'
        assert node.named['executable'] == 'depthface_node'
        return dict(node.named['remappings'])

    assert remappings() == {name: name for name in ('depth/image', 'depth/camera_info')}
    assert remappings(camera='realsense')['depth/image'] == '/camera/camera/depth/image_rect_raw'
    assert remappings(depth_topic='/my/image') == {
        'depth/image': '/my/image', 'depth/camera_info': '/my/camera_info'}
