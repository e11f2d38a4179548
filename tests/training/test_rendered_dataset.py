# SPDX-License-Identifier: Apache-2.0
"""Shards of rendered scenes: the depth in each window matches its labels."""
from __future__ import annotations

import argparse

import numpy as np
import pytest

torch = pytest.importorskip('torch')
for package in ('rich', 'onnxruntime'):
    pytest.importorskip(package)

from test_scene import Sitters

from depthface_ros.geometry.crop import FACE_CENTRE_FACE
from training.data import render, rendered_dataset


@pytest.fixture(params=[True, False], ids=['faces only', 'all'])
def rendered(request, tmp_path, monkeypatch):
    monkeypatch.setattr(render, 'people_factory', lambda split, options, smiles: Sitters())
    monkeypatch.setattr(render, 'SCENES_PER_SHARD', 12)
    options = argparse.Namespace(pools=tmp_path, seed=3, detector=None, hands=0.0, smiles=0.2,
                                 faces_only=request.param)
    assert render.render_shard((options, 'train', 0)) == 'shard_00000.npz'
    return options, rendered_dataset.FaceWindows.load(tmp_path / 'windows-train')


def test_windows_show_faces_at_their_labels(rendered):
    _, windows = rendered
    faces = torch.nonzero(windows.is_face)[:, 0]
    assert len(faces) >= 6
    off = []
    for depth, pose, (fx, fy, cx, cy) in zip(windows.depth(faces), windows.camera_from_face[faces],
                                             windows.intrinsics[faces]):
        x, y, z = pose[:3, :3] @ torch.tensor(FACE_CENTRE_FACE) + pose[:3, 3]
        seen = depth[int(torch.round(fy * y / z + cy)), int(torch.round(fx * x / z + cx))]
        off.append(float(seen - z))
    # the face's middle lies a little behind its skin; something may be held before some
    assert -0.08 < np.median(off) < 0.01


def test_nothing_but_faces_is_rendered_where_nothing_else_is_wanted(rendered):
    options, windows = rendered
    frames = options.pools / 'frames-train'
    if options.faces_only:
        assert windows.is_face.all() and not frames.exists()
    else:
        assert not windows.is_face.all() and len(rendered_dataset.CoarseFrames.load(frames)) == 12
