# SPDX-License-Identifier: Apache-2.0
"""Turn shipped ONNX files back into trainable networks: adaptation needs no checkpoint."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from onnx import numpy_helper
from torch import Tensor, nn

from depthface_ros.engines.onnx_file import read_onnx
from training.models.export import new_network


def first_weights(name: str, models: Path | None, typical: Callable[[], Tensor]) -> nn.Module:
    """Return the network `name` to train, from a folder of ONNX files or, without one, new.

    :param typical: makes the input (B, ...) that :func:`load_onnx` needs.
    """
    return load_onnx(name, models / f'{name}.onnx', typical()) if models else new_network(name)


def load_onnx(name: str, path: Path, crops: Tensor) -> nn.Module:
    """Return the network `name` with the weights of a file that :mod:`training.models.export` wrote.

    Export folds batch normalisation into convolutions. Here each normalisation gets the mean and
    variance of these crops, and the scale and shift that undo them. So the network computes the
    same function as the file, and its layers can be trained.

    :param crops: (B, 4, ...), typical input.
    :raises ValueError: the file is not of this architecture.
    """
    network = new_network(name)
    graph = read_onnx(path).graph
    arrays = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
              for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == 'Identity' and node.input[0] in arrays:  # equal weights are stored once
            arrays[node.output[0]] = arrays[node.input[0]]
    named = dict(network.named_modules())
    convolutions = [module for name, module in named.items()
                    if isinstance(module, nn.Conv2d) and f'network.{name}.weight' not in arrays]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    # layers without normalisation are in the file under their names
    plain = {f'{name}.{part}': tensor.shape for name, module in named.items()
             if isinstance(module, (nn.Linear, nn.Conv2d)) and module not in convolutions
             for part, tensor in module.named_parameters()}
    # fixed convolutions have no bias
    folded = [[arrays[part] for part in node.input[1:]] for node in graph.node
              if node.op_type == 'Conv' and len(node.input) == 3
              and node.input[1].removeprefix('network.') not in plain]
    state = {key: arrays[f'network.{key}'] for key in plain if f'network.{key}' in arrays}
    if ({key: value.shape for key, value in state.items()} != plain
            or len(convolutions) != len(norms)
            or [kernel.shape for kernel, _ in folded] != [
                convolution.weight.shape for convolution in convolutions]):
        raise ValueError(f'{path} does not hold the {name} network of this version: expected a '
                         'file that this version exported')
    network.load_state_dict(state, strict=False)
    with torch.no_grad():
        for (weight, _), module in zip(folded, convolutions):
            module.weight.copy_(weight)
    handles = [norm.register_forward_hook(_set_statistics(bias)) for (_, bias), norm in zip(folded, norms)]
    with torch.no_grad():
        network.eval()(crops)
    for handle in handles:
        handle.remove()
    return network


def _set_statistics(bias: Tensor):
    """Return a hook that sets a normalisation to the statistics of its input, and to add `bias` only."""
    def hook(norm: nn.BatchNorm2d, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(torch.sqrt(variance + norm.eps))
        norm.bias.copy_(bias + mean)
        return inputs[0] + bias[:, None, None]
    return hook
