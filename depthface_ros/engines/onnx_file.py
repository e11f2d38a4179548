# SPDX-License-Identifier: Apache-2.0
"""ONNX files with their weights in half precision, or in bytes: as good, and half the size or less.

A `Cast` makes each large tensor single again. ONNX Runtime computes that once, as it loads the
file; for other readers of those in half precision :func:`read_onnx` does.
"""
from __future__ import annotations

import math
from pathlib import Path

import numpy as np

LARGE = 1000  # numbers in a tensor from which on it is worth a node
VERY_LARGE = 100_000  # from which on it is worth a rounding
_STORED = '_fp16'


def store_weights_in_half(model) -> None:
    """Rewrite an `onnx.ModelProto`, in place, so that its large tensors of floats are FP16."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and math.prod(tensor.dims) >= LARGE:
            name = tensor.name
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, name + _STORED))
            casts.append(helper.make_node('Cast', [tensor.name], [name], to=TensorProto.FLOAT))
    _put_first(model.graph, casts)


def store_linear_weights_in_bytes(model) -> None:
    """Rewrite an `onnx.ModelProto`, in place: its very large linear layers hold steps of -127..127.

    How large a step is differs by input, so each input's largest weight is exact.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph, nodes = model.graph, []
    linear = {node.input[1] for node in graph.node if node.op_type == 'Gemm'}  # (outputs, inputs)
    for tensor in list(graph.initializer):
        if tensor.name in linear and math.prod(tensor.dims) >= VERY_LARGE:
            name, weight = tensor.name, numpy_helper.to_array(tensor)
            step = np.abs(weight).max(axis=0).clip(1e-12) / 127
            tensor.CopyFrom(numpy_helper.from_array(
                np.round(weight / step).astype(np.int8), f'{name}_int8'))
            graph.initializer.append(numpy_helper.from_array(step, f'{name}_step'))
            steps = f'{name}_steps'
            nodes += [helper.make_node('Cast', [tensor.name], [steps], to=TensorProto.FLOAT),
                      helper.make_node('Mul', [steps, f'{name}_step'], [name])]
    _put_first(graph, nodes)


def _put_first(graph, nodes) -> None:
    """What a node reads must stand before it."""
    nodes = [*nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def read_onnx(file: Path):
    """An ONNX file as an `onnx.ModelProto` whose weights are FP32 and no nodes.

    :raises ImportError: the package `onnx` is missing.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(file))
    stored = {tensor.name: tensor for tensor in model.graph.initializer
              if tensor.name.endswith(_STORED)}
    nodes = []
    for node in model.graph.node:
        if node.op_type == 'Cast' and node.input[0] in stored:
            tensor = stored[node.input[0]]
            single = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(single, node.output[0]))
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
