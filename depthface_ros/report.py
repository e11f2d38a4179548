# SPDX-License-Identifier: Apache-2.0
"""What is installed and what works here: the text of `depthface check`."""
from __future__ import annotations

import hashlib
import json
import platform
from importlib import metadata
from pathlib import Path

from depthface_ros.engines import ENGINES, MODELS_FOLDER, EngineUnavailable, open_engine

PACKAGES = {'depthface_ros': 'this package', 'numpy': 'required', 'array-api-compat': 'required',
            'onnxruntime': "engine 'cpu'", 'opencv-python-headless': 'overlays, PNG',
            'rosbags': 'bags', 'rich': 'progress bars', 'rerun-sdk': '--rerun',
            'rclpy': 'the ROS node'}


def check_report(models_folder: Path = MODELS_FOLDER) -> tuple[list[str], bool]:
    """Lines for people to read, and whether at least one engine works."""
    lines = [f'Python {platform.python_version()} on {platform.system()} {platform.machine()}', '',
             'packages']
    lines += [f'  {name:24} {_version(name):14} {purpose}' for name, purpose in PACKAGES.items()]
    engines = [(name, _why_not(name, models_folder)) for name in ENGINES]
    lines += ['', "engines, in the order of 'auto'"]
    lines += [f'  {name:10} {"no: " + reason if reason else "works"}' for name, reason in engines]
    lines += ['', f'models in {models_folder}']
    files = sorted([*Path(models_folder).glob('*.onnx'), *Path(models_folder).glob('*.npz')])
    lines += [f'  {file.name:20} {file.stat().st_size / 1e6:6.2f} MB  sha256 {_card(file)}'
              for file in files]
    return lines + ([] if files else ['  none']), not all(reason for _, reason in engines)


def _version(package: str) -> str:
    for name in (package, package.removesuffix('-headless'), f'ros-{package}'):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    try:  # system packages may have no metadata
        name = {'opencv-python-headless': 'cv2'}.get(package, package.replace('-', '_'))
        return getattr(__import__(name), '__version__', 'installed')
    except ImportError:
        return '-'


def _why_not(engine: str, models_folder: Path) -> str:
    try:
        open_engine(engine, models_folder)
    except (EngineUnavailable, ValueError) as error:
        return str(error).removeprefix(f'engine {engine}: ')
    return ''


def _card(file: Path) -> str:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    card = file.with_suffix('.json')
    expected = json.loads(card.read_text()).get('sha256') if card.is_file() else None
    return digest + (' (NOT the one of its card)' if expected not in (None, digest) else '')
