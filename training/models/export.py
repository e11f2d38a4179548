# SPDX-License-Identifier: Apache-2.0
"""Export the trained networks as ONNX files for onnxruntime and TensorRT 8.6 to 11."""
from __future__ import annotations

import argparse
import hashlib
import json
import math
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.onnx_file import store_weights_in_half
from depthface_ros.face_model.mesh import FaceModel
from training.models.networks import FaceRefinerNet, FaceShapeNet, HeadDetectorNet, HeadPoseNet
from training.models.provenance import RUNS, noted, run_folder
from training.train.fit import CHECKPOINT, load_average

OPSET = 17  # the newest that TensorRT 8.6 parses; 18 and up are silently misread there
# outputs that are logits in training and probabilities in the exported file
PROBABILITIES = {'heatmap', 'confidence', 'expression'}


class Deployed(nn.Module):
    """A network whose logits are turned into probabilities."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.sigmoid(out) if name in PROBABILITIES else out
                     for name, out in zip(self.network.outputs, self.network(x)))


def new_network(name: str) -> nn.Module:
    """Return an untrained network by the name of its ONNX file."""
    if name == 'face_shape':
        return FaceShapeNet(len(FaceModel.load().template))
    return {'head_finder': HeadDetectorNet, 'head_pose': HeadPoseNet, 'face_refiner': FaceRefinerNet}[name]()


def export(network: nn.Module, name: str, path: Path) -> None:
    """Export one network: opset 17, weights in half precision, no external data.

    The batch and the sizes that the contract leaves open are dynamic.
    """
    contract = NETWORKS[name]
    example = torch.zeros(1, *contract.input_shapes[0])
    shapes = {contract.input_name: contract.input_shape}
    if None in contract.input_shape:  # otherwise None is the number of vertices, which is fixed
        shapes |= contract.outputs
    axes = {each: {0: 'batch'} | {i: f'{each}_{i}' for i, size in enumerate(shapes.get(each, ()), 1) if size is None}
            for each in (contract.input_name, *network.outputs)}
    with warnings.catch_warnings():
        # the newer exporter cannot write opset 17
        warnings.filterwarnings('ignore', category=DeprecationWarning)
        torch.onnx.export(Deployed(network).eval(), (example,), str(path), dynamo=False, opset_version=OPSET,
                          input_names=[contract.input_name], output_names=list(network.outputs),
                          dynamic_axes=axes)
    model = onnx.load(str(path))
    store_weights_in_half(model)
    onnx.save(model, str(path))
    onnx.checker.check_model(str(path), full_check=True)


def write_card(name: str, path: Path, run: Path | None, notes: dict) -> None:
    """Write a model card beside the ONNX file: contents, training, validation figures."""
    model = onnx.load(str(path))
    weights = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    card = {'network': name, 'sha256': hashlib.sha256(path.read_bytes()).hexdigest(),
            'bytes': path.stat().st_size, 'parameters': weights, 'opset': OPSET, 'licence': 'Apache-2.0'}
    if run is not None:
        state = torch.load(run / CHECKPOINT, map_location='cpu', weights_only=True)['state']
        last = (run / 'curve.csv').read_text().strip().splitlines()[-1].split(',')
        card |= {'training_steps': state['step'], 'training_minutes': round(state['seconds'] / 60, 1),
                 'validation_while_training': dict(figure.lstrip('_').split('=') for figure in last[2:]
                                                   if figure.startswith('_'))} | noted(run)
    path.with_suffix('.json').write_text(json.dumps(card | notes, indent=2) + '\n')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--runs', type=Path, default=Path('training_runs'))
    parser.add_argument('--out', type=Path, default=MODELS_FOLDER)
    parser.add_argument('--networks', nargs='+', choices=list(RUNS), default=list(RUNS))
    parser.add_argument('--notes', type=Path, help='JSON file whose entries are added to every model card')
    parser.add_argument('--untrained', action='store_true', help='export random weights, to test the tool chain')


def run(options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    notes = json.loads(options.notes.read_text()) if options.notes else {}
    for name in options.networks:
        folder = None if options.untrained else run_folder(options.runs, name)
        network = new_network(name) if folder is None else load_average(new_network(name), folder)
        path = options.out / f'{name}.onnx'
        export(network, name, path)
        write_card(name, path, folder, notes)
        print(f'{path}: {path.stat().st_size / 1e6:.2f} MB')
