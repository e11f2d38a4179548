# SPDX-License-Identifier: Apache-2.0
"""Drawn faces, seen by a camera without noise, for tests of adaptation."""
from __future__ import annotations

import shutil

import numpy as np
import torch

from depthface_ros import Intrinsics
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimator import Face
from depthface_ros.face_model import FaceModel
from depthface_ros.recordings import Frame
from training.adaptation import settle
from training.augment import shape_batch
from training.export import export
from training.frames import cut_window
from training.networks import FaceShapeNet
from training.synthesis.renderer import render_depth
from training.synthesis.scene import facing_pose
from training.target import observation

MODEL = FaceModel.load()
CAMERA = Intrinsics(300.0, 300.0, 161.5, 118.5)


def face_at(yaw=0.0, pitch=0.0, roll=0.0, position=(0.02, -0.01, 0.8)):
    """A lopsided face as an estimator would give it."""
    pose = facing_pose(np.array(position), *np.radians([yaw, pitch, roll])).astype(np.float32)
    shape = MODEL.template + np.where(MODEL.template[:, 1:2] > 0.02, np.float32([0.004, 0.004, 0]),
                                      0)
    expression = np.linspace(0, 1, 52, dtype=np.float32)
    return Face(pose, (shape @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32), expression, 0.9,
                0.02, 0.002)


def frame_of(face, triangles=MODEL.triangles, camera=CAMERA, shape=(240, 320)):
    """What a camera without noise sees of a face: float32 metres."""
    corners = torch.tensor(face.vertices[triangles])
    fields = torch.tensor([[camera.fx], [camera.fy], [camera.cx], [camera.cy]],
                          dtype=torch.float32)
    depth = render_depth(corners, torch.zeros(len(corners), dtype=torch.int64), *fields, *shape)
    return Frame(0, depth[0].numpy().astype(np.float32), camera, 'drawn')


def seen(face, camera=CAMERA):
    depth, cameras = cut_window(frame_of(face, camera=camera), face.head_centre)
    return observation(depth[None], np.array([cameras], np.float32), face.camera_from_face[None])


def crops_at(*yaws):
    """Crops (N, 4, S, S) of the face, as the shape network gets them."""
    noise = torch.Generator().manual_seed(0)
    return torch.cat([shape_batch(seen(face_at(yaw=yaw)), noise)['crop'] for yaw in yaws])


def write_models(folder):
    """The shipped finder and pose network, and a face-shape network that has learnt nothing."""
    for path in MODELS_FOLDER.glob('head_*'):
        shutil.copy(path, folder)
    torch.manual_seed(0)
    network = FaceShapeNet(len(MODEL.template))
    with torch.no_grad():
        network.basis.weight.mul_(0.01)  # faces of nearly the average shape
        network.basis.bias.zero_()
    settle(network, crops_at(*range(-40, 41, 10)))
    export(network, 'face_shape', folder / 'face_shape.onnx')
    return folder
