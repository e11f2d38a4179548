# SPDX-License-Identifier: Apache-2.0
"""Quantise the networks to 8 bits, for processors with fast integer products.

The inputs of the networks on synthetic frames of the training split set the range of each tensor.
"""
from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from rich.progress import track

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.engines import MODELS_FOLDER, Engine, open_engine
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.cpu import MADE_FROM, float_file, int8_file
from depthface_ros.engines.onnx_file import (
    read_onnx,
    store_linear_weights_in_bytes,
    store_weights_in_half,
)
from training.data.render import add_people_arguments
from training.evaluation.frames import SyntheticFrames, intrinsics_of

# Convolutions with fewer channels read points or write outputs: they need more than 8 bits and cost little.
MIN_CHANNELS = 16


class RecordingEngine:
    """An engine that records the inputs of its networks."""

    def __init__(self, engine: Engine):
        self.name, self._engine = engine.name, engine
        self.inputs: dict[str, list[np.ndarray]] = {network: [] for network in NETWORKS}

    def run(self, network: str, array: np.ndarray) -> dict[str, np.ndarray]:
        self.inputs[network] += np.split(array, len(array))
        return self._engine.run(network, array)


class InputReader(CalibrationDataReader):
    """Read the inputs of one network, one at a time."""

    def __init__(self, name: str, arrays: list[np.ndarray]):
        self._inputs = iter([{name: array} for array in arrays])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._inputs, None)


def quantise_folder(models: Path, frames: Iterable[tuple[np.ndarray, Intrinsics]]) -> None:
    """Quantise the convolutional networks of a folder, with the ranges of their inputs on `frames`."""
    for network, inputs in network_inputs(models, frames).items():
        source, target = float_file(models, network), int8_file(models, network)
        if all(node.op_type != 'Conv' for node in read_onnx(source).graph.node):
            continue  # perceptrons of a thousand inputs are fast in floats
        quantise(source, target, NETWORKS[network].input_name, inputs)
        print(f'{target}: {target.stat().st_size / 1e6:.2f} MB, from {len(inputs)} inputs')


def network_inputs(models: Path, frames: Iterable[tuple[np.ndarray, Intrinsics]]) -> dict[str, list[np.ndarray]]:
    """Return the inputs (1, ...) of each network on depth images and their cameras."""
    engine = RecordingEngine(open_engine('cpu_fp32', models)[0])
    estimator = FaceEstimator(engine)
    for depth, intrinsics in frames:
        estimator(depth, intrinsics)
    return engine.inputs


def quantise(source: Path, target: Path, name: str, inputs: list[np.ndarray]) -> None:
    """Write an ONNX file with convolutions in 8 bits, calibrated on inputs (1, ...) each.

    Weights use 7 bits: the sums of processors without VNNI would overflow otherwise. A ReLU is fused
    into its convolution, so its negative range costs no bits. Linear layers compute in floats; large
    ones store their weights in bytes.
    """
    model = read_onnx(source)
    graph = model.graph
    weights = {tensor.name: tensor.dims for tensor in graph.initializer}
    # constant kernels differentiate: they stay exact
    exact = [node.name for node in graph.node if node.op_type == 'Conv' and (
        node.input[1] not in weights or min(weights[node.input[1]][:2]) < MIN_CHANNELS)]
    quantize_static(model, target, InputReader(name, inputs), quant_format=QuantFormat.QDQ,
                    op_types_to_quantize=['Conv', 'Relu'], nodes_to_exclude=exact, per_channel=True,
                    reduce_range=True, activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8)
    model = onnx.load(target)
    onnx.helper.set_model_props(
        model, {MADE_FROM: hashlib.sha256(source.read_bytes()).hexdigest()})
    store_linear_weights_in_bytes(model)
    store_weights_in_half(model)
    del model.graph.value_info[:]  # inferred shapes of intermediate tensors
    onnx.save(model, target)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_people_arguments(parser)
    parser.add_argument('--models', type=Path, default=MODELS_FOLDER,
                        help='folder of ONNX files; the new ones come beside them')
    parser.add_argument('--frames', type=int, default=150)
    parser.add_argument('--seed', type=int, default=0)


def run(options: argparse.Namespace) -> None:
    frames = SyntheticFrames('train', options.seed, options.ict, options.hair)
    quantise_folder(options.models, images(frames, options.frames))


def images(frames: SyntheticFrames, count: int) -> Iterator[tuple[np.ndarray, Intrinsics]]:
    """Yield the depth images of the first `count` synthetic frames, with their cameras."""
    for number in track(range(count), 'recording inputs'):
        scene, _, depth = frames[number]
        yield depth, intrinsics_of(scene)
