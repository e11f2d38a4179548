# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the engines' tests."""
from __future__ import annotations

import shutil

import pytest

from depthface_ros.engines import MODELS_FOLDER


@pytest.fixture
def models(tmp_path):
    """A folder with copies of the networks that ship."""
    folder = tmp_path / 'models'
    folder.mkdir()
    for file in MODELS_FOLDER.glob('*.onnx'):
        shutil.copy(file, folder)
    return folder
