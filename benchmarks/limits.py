# SPDX-License-Identifier: Apache-2.0
"""Measured limits of one core, and the operations and bytes that the networks require."""
from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from depthface_ros.engines.onnx_file import read_onnx


def ceilings() -> dict[str, float]:
    """Return the best rates of one thread: products of large matrices, copies of large arrays."""
    n = 512
    a, b = (np.random.default_rng(i).random((n, n), np.float32) for i in range(2))
    source, target = np.ones(32 << 20, np.uint8), np.empty(32 << 20, np.uint8)
    multiply = _byte_products(n)
    return {'gflops_fp32': 2e-9 * n ** 3 / _fastest(lambda: a @ b),
            'gops_int8': 2e-9 * n ** 3 / _fastest(multiply),
            'copy_gb_s': 2e-9 * source.nbytes / _fastest(lambda: np.copyto(target, source))}


def _byte_products(n: int) -> Callable[[], object]:
    """Return a call that multiplies matrices of bytes as ONNX Runtime does."""
    kinds = {'a': onnx.TensorProto.UINT8, 'b': onnx.TensorProto.INT8, 'c': onnx.TensorProto.INT32}
    a, b, c = (onnx.helper.make_tensor_value_info(name, kind, (n, n))
               for name, kind in kinds.items())
    weights = np.random.default_rng(0).integers(-64, 64, (n, n), np.int8)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node('MatMulInteger', ['a', 'b'], ['c'])], 'product', [a], [c],
        [onnx.numpy_helper.from_array(weights, 'b')])
    model = onnx.helper.make_model(graph, ir_version=8,
                                   opset_imports=[onnx.helper.make_opsetid('', 17)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=['CPUExecutionProvider'])
    array = np.ones((n, n), np.uint8)
    return lambda: session.run(None, {'a': array})


def _fastest(call: Callable[[], object], tries: int = 50) -> float:
    call()
    seconds = []
    for _ in range(tries):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def work(file: Path, shape: tuple[int, ...]) -> dict[str, float]:
    """Return the operations of a network's convolutions and matrix products, and the bytes moved.

    Bytes: all weights once, and input and output of each of those layers once.

    :param shape: of the input, with the batch.
    """
    model = read_onnx(file)
    for axis, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape):
        axis.dim_value = size
    model = onnx.shape_inference.infer_shapes(model)
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    weights |= {node.output[0]: tuple(node.attribute[0].t.dims) for node in model.graph.node
                if node.op_type == 'Constant'}
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    shapes = {value.name: [axis.dim_value or shape[0] for axis in value.type.tensor_type.shape.dim]
              for value in values}
    operations = moved = 0
    for node in model.graph.node:
        if node.op_type in ('Conv', 'Gemm'):
            output, kernel = shapes[node.output[0]], weights[node.input[1]]
            per_value = np.prod(kernel[1:]) if node.op_type == 'Conv' else shapes[node.input[0]][-1]
            operations += 2 * np.prod(output) * per_value
            moved += 4 * (np.prod(output) + np.prod(shapes[node.input[0]]) + np.prod(kernel))
    return {'mflop': float(operations) / 1e6, 'mbytes': float(moved) / 1e6}
