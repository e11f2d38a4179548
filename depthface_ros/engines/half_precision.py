# SPDX-License-Identifier: Apache-2.0
"""A network in half precision, made from the one that ships, with its types in the file.

TensorRT 11 takes types from the file only; 8.6 and 10 do as well when they are told so.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np

from depthface_ros.engines.onnx_file import read_onnx

# Convolutions with learnt weights are nearly all of the work, and go half. The last layers stay
# single: they are small, and 11 bits of a rotation's columns are a twentieth of a degree.
SINGLE = {'Gemm', 'MatMul', 'Sigmoid', 'Sqrt', 'Flatten'}
# These follow their first input, and so do all their other inputs that are floats; convolutions
# by constants are among them: normals of a surface need single precision.
ELEMENTWISE = {'Relu', 'Add', 'Sub', 'Mul', 'Div', 'Concat', 'Conv'}
FOLLOW = {'Resize', 'Slice', 'Split', 'Gather', 'Reshape', 'Transpose', 'Identity', 'Unsqueeze',
          'MaxPool', 'AveragePool', 'GlobalAveragePool'}


def half_precision(file: Path):
    """An ONNX file with single precision as an `onnx.ModelProto` whose convolutions are FP16.

    Inputs and outputs stay FP32.

    :raises ImportError: the package `onnx` is missing.
    :raises ValueError: the file holds an operator that this function does not know.
    """
    from onnx import TensorProto, helper, numpy_helper

    model = read_onnx(file)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    half = {}  # of tensors that are floats: whether they are in half precision
    half.update({value.name: False for value in graph.input})
    half.update({name: False for name, tensor in weights.items()
                 if tensor.data_type == TensorProto.FLOAT})
    learnt = {*weights, *(node.output[0] for node in graph.node
                          if node.op_type == 'Identity' and node.input[0] in weights)}
    cast: dict[tuple[str, bool], str] = {}
    nodes = []

    def as_type(name: str, wanted: bool) -> str:
        """The name of a tensor in the precision wanted: itself, a cast, or converted weights."""
        if half.get(name, wanted) == wanted:
            return name
        if (name, wanted) not in cast:
            new = cast[name, wanted] = f'{name}_fp{16 if wanted else 32}'
            if name in weights:
                values = numpy_helper.to_array(weights[name]).astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(values, new))
            else:
                to = TensorProto.FLOAT16 if wanted else TensorProto.FLOAT
                nodes.append(helper.make_node('Cast', [name], [new], new, to=to))
        return cast[name, wanted]

    for node in graph.node:
        operator = node.op_type
        if operator in ('Constant', 'Shape', 'Cast'):
            if operator == 'Constant' and node.attribute[0].t.data_type == TensorProto.FLOAT or (
                    operator == 'Cast' and node.attribute[0].i == TensorProto.FLOAT):
                half[node.output[0]] = False
            nodes.append(node)
            continue
        if operator not in SINGLE | ELEMENTWISE | FOLLOW:
            raise ValueError(f'{file}: no rule for operator {operator} in half precision')
        first = half.get(node.input[0])
        wanted = operator not in SINGLE and (
            first or operator == 'Conv' and node.input[1] in learnt)
        inputs = 1 if operator in FOLLOW else len(node.input)  # a scale of Resize stays as it is
        if first is not None:
            for i in range(inputs):
                node.input[i] = as_type(node.input[i], wanted)
            half.update({name: wanted for name in node.output})
        nodes.append(node)
    for output in graph.output:
        if half[output.name]:
            _rename(nodes, output.name, f'{output.name}_fp16')
            nodes.append(helper.make_node('Cast', [f'{output.name}_fp16'], [output.name],
                                          f'{output.name}_fp32', to=TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]
    return model


def _rename(nodes, old: str, new: str) -> None:
    for node in nodes:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
