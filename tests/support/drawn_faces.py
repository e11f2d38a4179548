# SPDX-License-Identifier: Apache-2.0
"""Drawn faces and their noiseless depth images, for tests of adaptation."""
from __future__ import annotations

import shutil

import numpy as np
import torch

from depthface_ros import Intrinsics
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.io.frame import Frame
from training.adapt.target_domain import observation
from training.data.augment import shape_batch
from training.data.frame_views import cut_window
from training.data.rendered_dataset import DEPTH_STEP
from training.models.export import export
from training.models.networks import FaceRefinerNet, FaceShapeNet
from training.synthesis.renderer import render_depth
from training.synthesis.scene.random_scene import facing_pose
from training.synthesis.sensors import Sensor

MODEL = FaceModel.load()
CAMERA = Intrinsics(300.0, 300.0, 161.5, 118.5)


def face_at(yaw=0.0, pitch=0.0, roll=0.0, position=(0.02, -0.01, 0.8)):
    """Return an asymmetric face as an estimator would."""
    pose = facing_pose(np.array(position), *np.radians([yaw, pitch, roll])).astype(np.float32)
    shape = MODEL.template + np.where(MODEL.template[:, 1:2] > 0.02, np.float32([0.004, 0.004, 0]),
                                      0)
    expression = np.linspace(0, 1, 52, dtype=np.float32)
    return Face(pose, (shape @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32), expression, 0.9,
                0.02, 0.002)


def frame_of(face, triangles=MODEL.triangles, camera=CAMERA, shape=(240, 320)):
    """Return the noiseless depth image of a face: float32 metres."""
    corners = torch.tensor(face.vertices[triangles])
    fields = torch.tensor([[camera.fx], [camera.fy], [camera.cx], [camera.cy]],
                          dtype=torch.float32)
    depth = render_depth(corners, torch.zeros(len(corners), dtype=torch.int64), *fields, *shape)
    return Frame(0, depth[0].numpy().astype(np.float32), camera, 'drawn')


def seen(face, camera=CAMERA):
    depth, cameras = cut_window(frame_of(face, camera=camera), face.head_centre)
    return observation(depth[None], np.array([cameras], np.float32), face.camera_from_face[None])


def crops_at(*yaws):
    """Return crops (N, 4, S, S) of the face as inputs of the shape network."""
    noise = torch.Generator().manual_seed(0)
    return torch.cat([shape_batch(seen(face_at(yaw=yaw)), noise)['crop'] for yaw in yaws])


def set_batch_statistics(network, crops):
    """Set the running statistics of batch normalisation to those of some crops, in place."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean over all batches
    with torch.no_grad():
        network.train()(crops)
    network.eval()


def write_models(folder):
    """Write the shipped detector and pose network, and an untrained shape network and refiner."""
    for path in MODELS_FOLDER.glob('head_*'):
        shutil.copy(path, folder)
    torch.manual_seed(0)
    network = FaceShapeNet(len(MODEL.template))
    with torch.no_grad():
        network.basis.weight.mul_(0.01)  # faces of nearly the average shape
        network.basis.bias.zero_()
    set_batch_statistics(network, crops_at(*range(-40, 41, 10)))
    export(network, 'face_shape', folder / 'face_shape.onnx')
    export(FaceRefinerNet(), 'face_refiner', folder / 'face_refiner.onnx')
    return folder


def write_pool(pools, split, copies=1):
    """Write a data set of a few drawn faces, as `python -m training render` would write it."""
    folder = pools / f'windows-{split}'
    folder.mkdir()
    faces = [face_at(yaw=yaw, position=(0, 0, 0.7)) for yaw in range(-35, 36, 10)]
    cut = [cut_window(frame_of(face), face.head_centre) for face in faces] * copies
    faces = faces * copies
    count = len(faces)
    np.savez(folder / 'shard_00000.npz',
             depth_steps=np.array([depth / DEPTH_STEP for depth, _ in cut]).round().astype('u2'),
             hair_mask=np.zeros((count, 160, 160), bool),
             intrinsics=np.array([camera for _, camera in cut], np.float32),
             fx_native=np.full(count, 300, np.float32), pixel_scale=np.ones(count, np.float32),
             family=np.zeros(count, np.int8),
             sensor=np.tile(np.float32(tuple(Sensor())), (count, 1)),
             camera_from_face=np.stack([face.camera_from_face for face in faces]),
             offsets=np.zeros((count, *MODEL.template.shape), np.float16),
             expression=np.zeros((count, 52), np.float16), is_face=np.ones(count, bool))
    return pools
