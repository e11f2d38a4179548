# SPDX-License-Identifier: Apache-2.0
"""Average the weights of a network and of one that was trained on from it.

A short training on special data gains there and loses elsewhere. The average of the weights before
and after it keeps most of the gain without the loss (Wortsman et al. 2022, 'Robust fine-tuning of
zero-shot models').
"""
from __future__ import annotations

import argparse
import copy
import hashlib
import json
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.onnx_file import read_onnx, store_weights_in_half

Network = TypeVar('Network', bound=nn.Module)


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
    model = averaged_file(options.before / name, options.after / name, options.share)
    card = json.loads((options.after / name).with_suffix('.json').read_text())
    options.out.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(options.out / name))
    data = (options.out / name).read_bytes()
    card |= {'sha256': hashlib.sha256(data).hexdigest(), 'bytes': len(data),
             'averaged': f'{options.share:g} of the weights after this training, the rest of those '
             'that it started from'}
    (options.out / name).with_suffix('.json').write_text(json.dumps(card, indent=2) + '\n')
    print(f'{options.out / name}: {options.share:g} of the weights of {options.after}')


def averaged_file(before: Path, after: Path, after_fraction: float) -> onnx.ModelProto:
    """Return the model of the file `after` with the averaged weights of both files.

    :raises ValueError: as :func:`averaged_weights`.
    """
    model = read_onnx(after)
    weights = averaged_weights(_weights(read_onnx(before)), _weights(model), after_fraction)
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    store_weights_in_half(model)
    return model


def averaged_network(before: Network, after: Network, after_fraction: float) -> Network:
    """Return a copy of `after` with the averaged parameters of both; its buffers are those of `after`.

    :raises ValueError: as :func:`averaged_weights`.
    """
    network = copy.deepcopy(after)
    first, second = ({name: parameter.detach().cpu().numpy() for name, parameter in
                      each.named_parameters()} for each in (before, after))
    weights = averaged_weights(first, second, after_fraction)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()},
                            strict=False)  # parameters without buffers
    return network


def averaged_weights(before: dict[str, np.ndarray], after: dict[str, np.ndarray],
                     after_fraction: float) -> dict[str, np.ndarray]:
    """Return (1 - after_fraction) * before + after_fraction * after of each weight.

    :returns: arrays of the names, shapes and types of `after`.
    :raises ValueError: the names or shapes differ, or the fraction is not in 0..1.
    """
    if not 0 <= after_fraction <= 1:
        raise ValueError(f'--share {after_fraction:g}: expected a number in 0..1')
    if ({name: array.shape for name, array in before.items()}
            != {name: array.shape for name, array in after.items()}):
        raise ValueError('the two networks have different weights: expected networks that the '
                         'same version trained or exported')
    return {name: ((1 - after_fraction) * np.float32(before[name])
                   + after_fraction * np.float32(last)).astype(last.dtype)
            for name, last in after.items()}


def _weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Return the floating-point weights of a model by name."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name: array for name, array in arrays.items()
            if np.issubdtype(array.dtype, np.floating)}
