# SPDX-License-Identifier: Apache-2.0
"""ONNX files whose large weights are stored in FP16 or in bytes: half the size or less.

A `Cast` node makes each large tensor FP32 again. ONNX Runtime computes it once, on loading; for
other readers of FP16 weights :func:`read_onnx` does.
"""
from __future__ import annotations

import math
from pathlib import Path

import numpy as np

LARGE = 1000  # elements of a tensor that is stored in FP16
VERY_LARGE = 100_000  # elements of a tensor that is stored in bytes
_STORED = '_fp16'


def store_weights_in_half(model) -> None:
    """Store the large FP32 tensors of an `onnx.ModelProto` in FP16, in place."""
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
    """Store the very large linear layers of an `onnx.ModelProto` in bytes, in place.

    Weights become steps of -127..127. The step size is chosen per input: its largest weight is
    exact.
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
    """Insert nodes before all others: ONNX requires that producers come first."""
    nodes = [*nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def read_onnx(file: Path):
    """Read an ONNX file as an `onnx.ModelProto` with FP32 weights, without their `Cast` nodes.

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
