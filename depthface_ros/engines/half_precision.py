# SPDX-License-Identifier: Apache-2.0
"""Half precision: convolutions in FP16, with types in the ONNX file as TensorRT requires."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from depthface_ros.engines.onnx_file import read_onnx

# Convolutions with learnt weights are nearly all of the work, and become FP16. The last layers stay
# FP32: they are small, and FP16 in the columns of a rotation costs a twentieth of a degree.
SINGLE = {'Gemm', 'MatMul', 'Sigmoid', 'Sqrt', 'Flatten'}
# The first input decides the type of all floating inputs and outputs. Convolutions by constants are
# among them: the normals of a surface need FP32.
ELEMENTWISE = {'Relu', 'Add', 'Sub', 'Mul', 'Div', 'Concat', 'Conv'}
FOLLOW = {'Resize', 'Slice', 'Split', 'Gather', 'Reshape', 'Transpose', 'Identity', 'Unsqueeze',
          'MaxPool', 'AveragePool', 'GlobalAveragePool'}


def half_precision(file: Path):
    """Read an FP32 ONNX file as an `onnx.ModelProto` with FP16 convolutions.

    Inputs and outputs stay FP32.

    :raises ImportError: the package `onnx` is missing.
    :raises ValueError: there is no rule for an operator of the file.
    """
    model = read_onnx(file)
    _HalfGraph(model.graph).rewrite()
    return model


class _HalfGraph:
    """An `onnx.GraphProto` that is rewritten node by node."""

    def __init__(self, graph):
        from onnx import TensorProto
        self._graph, self._nodes = graph, []
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._learnt = {*self._weights, *(
            node.output[0] for node in graph.node
            if node.op_type == 'Identity' and node.input[0] in self._weights)}
        self._is_half = {value.name: False for value in graph.input}  # of floating tensors
        self._is_half |= {name: False for name, tensor in self._weights.items()
                          if tensor.data_type == TensorProto.FLOAT}
        self._casts: dict[tuple[str, bool], str] = {}

    def rewrite(self) -> None:
        """Convert all nodes, and drop what is no longer used."""
        graph, nodes = self._graph, self._nodes
        for node in graph.node:
            self._convert(node)
            nodes.append(node)
        for output in graph.output:
            if self._is_half[output.name]:
                self._cast_output(output.name)
        used = {name for node in nodes for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        for field, values in ((graph.node, nodes), (graph.initializer, kept),
                              (graph.value_info, [])):
            del field[:]
            field.extend(values)

    def _convert(self, node) -> None:
        """Choose the type of a node, and give its inputs that type."""
        from onnx import TensorProto
        operator = node.op_type
        if operator in ('Constant', 'Shape', 'Cast'):
            if operator == 'Constant' and node.attribute[0].t.data_type == TensorProto.FLOAT or (
                    operator == 'Cast' and node.attribute[0].i == TensorProto.FLOAT):
                self._is_half[node.output[0]] = False
            return
        if operator not in SINGLE | ELEMENTWISE | FOLLOW:
            raise ValueError(f'no rule for operator {operator} in half precision')
        first = self._is_half.get(node.input[0])
        if first is None:  # shapes and indices
            return
        half = operator not in SINGLE and (
            first or operator == 'Conv' and node.input[1] in self._learnt)
        inputs = 1 if operator in FOLLOW else len(node.input)  # scales of Resize stay FP32
        for i in range(inputs):
            node.input[i] = self._as_type(node.input[i], half)
        self._is_half.update({name: half for name in node.output})

    def _as_type(self, name: str, half: bool) -> str:
        """Return the name of a tensor in a type: itself, a cast, or converted weights."""
        from onnx import numpy_helper
        if self._is_half.get(name, half) == half:
            return name
        if (name, half) not in self._casts:
            new = self._casts[name, half] = f'{name}_fp{16 if half else 32}'
            if name in self._weights:
                values = numpy_helper.to_array(self._weights[name]).astype(np.float16)
                self._graph.initializer.append(numpy_helper.from_array(values, new))
            else:
                self._add_cast(name, new, new, half)
        return self._casts[name, half]

    def _cast_output(self, name: str) -> None:
        """Make an output FP32 again, under its own name."""
        new = f'{name}_fp16'
        for node in self._nodes:
            for names in (node.input, node.output):
                for i, each in enumerate(names):
                    if each == name:
                        names[i] = new
        self._add_cast(new, name, f'{name}_fp32', half=False)

    def _add_cast(self, source: str, target: str, name: str, half: bool) -> None:
        from onnx import TensorProto, helper
        to = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        self._nodes.append(helper.make_node('Cast', [source], [target], name, to=to))
