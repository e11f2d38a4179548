# SPDX-License-Identifier: Apache-2.0
"""Small ONNX models, and the operators allowed in this project's networks."""
from __future__ import annotations

import onnx
import onnxruntime

# Operators that the parsers of TensorRT 8.6, 10 and 11 all read alike at opset 17
ALLOWED_OPERATORS = {
    'Conv', 'Relu', 'Add', 'Mul', 'Sub', 'Div', 'Concat', 'MaxPool', 'AveragePool', 'GlobalAveragePool',
    'Gemm', 'MatMul', 'Reshape', 'Flatten', 'Transpose', 'Slice', 'Sigmoid', 'Resize', 'Constant',
    'Identity', 'Split', 'Sqrt', 'Shape', 'Gather', 'Unsqueeze', 'Cast'}


def run_onnx(data, x):
    """Return the outputs by name of a serialised model with one input."""
    session = onnxruntime.InferenceSession(data, providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: x})))


def small_model(*nodes, initializers=()):
    """Return a model from x (1, 1, 4, 4) to y with these nodes."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        list(nodes), 'small', [value('x', 1, [1, 1, 4, 4])], [value('y', 1, None)],
        list(initializers))
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 17)])
