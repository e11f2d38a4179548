# SPDX-License-Identifier: Apache-2.0
"""An ONNX file as a PyTorch function, for the operators of this project's networks."""
from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# Shapes and indices are numpy arrays on the host; everything else is a tensor on the device.


def _conv(x, weight, bias=None, *, pads, strides, dilations, group, kernel_shape):
    if pads[:2] != pads[2:]:
        raise ValueError(f'Conv with pads {pads}: expected the same at both ends')
    return functional.conv2d(x, weight, bias, strides, pads[:2], dilations, group)


def _average_pool(x, *, kernel_shape, strides, pads=(0,), ceil_mode=0, count_include_pad=0):
    if any(pads) or ceil_mode:
        raise ValueError(f'AveragePool with pads {pads}, ceil_mode {ceil_mode}: expected none')
    return functional.avg_pool2d(x, kernel_shape, strides)


def _gemm(a, b, c=None, *, alpha=1.0, beta=1.0, transA=0, transB=0):  # noqa: N803 (ONNX's names)
    a, b = (a.mT if transA else a), (b.mT if transB else b)
    return alpha * (a @ b) if c is None else torch.addmm(c, a, b, beta=beta, alpha=alpha)


def _gather(x, index, *, axis=0):
    if isinstance(x, np.ndarray):
        return np.take(x, index, axis)
    return x.index_select(axis, index) if index.ndim else x.select(axis, int(index))


def _slice(x, starts, ends, axes=None, steps=None):
    if steps is not None and (steps != 1).any():
        raise ValueError(f'Slice with steps {steps}: expected 1')
    for i, axis in enumerate(range(len(starts)) if axes is None else axes):
        size = x.shape[axis]
        start, stop, _ = slice(int(starts[i]), int(ends[i])).indices(size)
        x = x.narrow(int(axis), start, max(stop - start, 0))
    return x


def _resize(x, roi=None, scales=None, *, mode, coordinate_transformation_mode, nearest_mode,
            cubic_coeff_a=None):
    mapping = mode, coordinate_transformation_mode, nearest_mode
    if scales is None or mapping != ('nearest', 'asymmetric', 'floor'):
        raise ValueError(f'Resize {mapping}: expected nearest, asymmetric, floor, with scales')
    return functional.interpolate(x, scale_factor=tuple(scales[2:].tolist()), mode='nearest')


def _concat(*parts, axis):
    host = isinstance(parts[0], np.ndarray)
    return np.concatenate(parts, axis) if host else torch.cat(parts, axis)


def _plain(value):
    return value.decode() if isinstance(value, bytes) else value


OPERATORS = {
    'Add': torch.add,
    'AveragePool': _average_pool,
    'Cast': lambda x, *, to: x.to({1: torch.float32, 10: torch.float16}[to]),
    'Concat': _concat,
    'Conv': _conv,
    'Div': torch.div,
    'Flatten': lambda x, *, axis=1: x.reshape(math.prod(x.shape[:axis]), -1),
    'Gather': _gather,
    'Gemm': _gemm,
    'Identity': lambda x: x,
    'MatMul': torch.matmul,
    'Mul': torch.mul,
    'Relu': torch.relu,
    'Reshape': lambda x, shape, *, allowzero=0: x.reshape(
        [x.shape[i] if size == 0 else int(size) for i, size in enumerate(shape)]),
    'Resize': _resize,
    'Shape': lambda x: np.array(x.shape),
    'Sigmoid': torch.sigmoid,
    'Slice': _slice,
    'Split': lambda x, sizes, *, axis=0: x.split(sizes.tolist(), axis),
    'Sqrt': torch.sqrt,
    'Sub': torch.sub,
    'Transpose': lambda x, *, perm: x.permute(perm),
    'Unsqueeze': lambda x, axes: np.expand_dims(x, tuple(axes)),
}


class OnnxFunction:
    """An ONNX graph as a function: one input tensor (B, ...) to its outputs by name."""

    def __init__(self, model, device: torch.device):
        """Move the weights of an `onnx.ModelProto` to a device.

        :raises ValueError: an operator is not in :data:`OPERATORS`.
        """
        from onnx import helper, numpy_helper
        graph = model.graph
        unknown = sorted({node.op_type for node in graph.node} - {*OPERATORS, 'Constant'})
        if unknown:
            raise ValueError(f'operators {", ".join(unknown)}: expected some of '
                             f'{", ".join(sorted(OPERATORS))}')
        self._input, = (value.name for value in graph.input)
        self._constants = {}
        self.outputs = tuple(value.name for value in graph.output)

        def constant(tensor):
            value = numpy_helper.to_array(tensor)
            # shapes, axes and scales of Resize are small and needed on the host
            on_host = value.shape == (4,) or value.dtype.kind != 'f' and value.size <= 8
            return value if on_host else torch.tensor(value, device=device)

        for tensor in graph.initializer:
            self._constants[tensor.name] = constant(tensor)
        self._steps = []
        for node in graph.node:
            if node.op_type == 'Constant':
                self._constants[node.output[0]] = constant(node.attribute[0].t)
                continue
            options = {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
            self._steps.append((OPERATORS[node.op_type], list(node.input), list(node.output),
                                options))

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        values = {**self._constants, self._input: x, '': None}
        for function, inputs, outputs, options in self._steps:
            found = function(*(values[name] for name in inputs), **options)
            values.update(zip(outputs, found if isinstance(found, tuple) else (found,)))
        return {name: values[name] for name in self.outputs}

    def in_order(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in the order of the file."""
        return tuple(self(x).values())
