# SPDX-License-Identifier: Apache-2.0
"""Average the weights of a network and of one that was trained on from it.

A short training on special data gains there and loses elsewhere. The average of the weights before
and after it keeps most of the gain without the loss (Wortsman et al. 2022, 'Robust fine-tuning of
zero-shot models').
"""
from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.onnx_file import read_onnx, store_weights_in_half


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('network', choices=list(NETWORKS))
    parser.add_argument('--before', type=Path, default=MODELS_FOLDER, metavar='MODELS',
                        help='folder of the network that training began with')
    parser.add_argument('--after', type=Path, required=True, metavar='MODELS',
                        help='folder of the network that was trained on')
    parser.add_argument('--share', type=float, default=0.7, help='of the weights after training')
    parser.add_argument('--out', type=Path, default=MODELS_FOLDER, metavar='MODELS')


def run(options: argparse.Namespace) -> None:
    name = f'{options.network}.onnx'
    model = averaged(options.before / name, options.after / name, options.share)
    card = json.loads((options.after / name).with_suffix('.json').read_text())
    options.out.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(options.out / name))
    data = (options.out / name).read_bytes()
    card |= {'sha256': hashlib.sha256(data).hexdigest(), 'bytes': len(data),
             'averaged': f'{options.share:g} of the weights after this training, the rest of those '
             'that it started from'}
    (options.out / name).with_suffix('.json').write_text(json.dumps(card, indent=2) + '\n')
    print(f'{options.out / name}: {options.share:g} of the weights of {options.after}')


def averaged(before: Path, after: Path, share: float) -> onnx.ModelProto:
    """Return the model `after` with weights (1 - share) * before + share * after.

    :raises ValueError: the files do not hold weights of the same names and shapes, or share is not
        in 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f'--share {share:g}: expected a number in 0..1')
    model = read_onnx(after)
    first, second = (_weights(each) for each in (read_onnx(before), model))
    if {name: w.shape for name, w in first.items()} != {name: w.shape for name, w in second.items()}:
        raise ValueError(f'{before} and {after} hold different networks: expected files that the '
                         'same version exported')
    for tensor in model.graph.initializer:
        if tensor.name in first:
            mean = sum(part * weights[tensor.name].astype(np.float32)
                       for part, weights in ((1 - share, first), (share, second)))
            dtype = second[tensor.name].dtype
            tensor.CopyFrom(numpy_helper.from_array(mean.astype(dtype), tensor.name))
    store_weights_in_half(model)
    return model


def _weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Return the floating-point weights of a model by name."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name: array for name, array in arrays.items() if np.issubdtype(array.dtype, np.floating)}
