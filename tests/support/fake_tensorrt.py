# SPDX-License-Identifier: Apache-2.0
"""Runs TensorRT plans without a GPU, in the flavours of `tensorrt_names.json`; builds none.

Strict: a name that a version or the list lacks raises AttributeError. Plans of :func:`build_plan`
hold an ONNX file and run by onnxruntime on the memory of `fake_cuda`. `fail` names calls that fail
as the real ones do: with None, False or a wrong value, and an error for the logger.
"""
from __future__ import annotations

import enum
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

_LISTED = json.loads((Path(__file__).parent / 'tensorrt_names.json').read_text())
NAMES = {version: {*_LISTED['every version'], *names} for version, names in _LISTED.items()
         if version != 'every version'}
RTX = 'rtx 1.7.1.116'


def build_plan(trt, logger, recipe, onnx):
    """Stand in for :func:`depthface_ros.engines.tensorrt.build.build_plan`."""
    trt._state.builds += 1
    head = json.dumps({'version': trt.__version__, 'shapes': recipe.shapes}).encode()
    return b'plan' + len(head).to_bytes(4, 'little') + head + onnx


def make(flavour: str, cuda, fail: dict):
    """Return a stand-in for the module `tensorrt` or `tensorrt_rtx`."""
    names, version = NAMES[flavour], flavour.removeprefix('rtx ')
    state = SimpleNamespace(made=[], builds=0, compiled=0)

    class Strict:
        """Has only the public attributes that this version has."""

        def __getattribute__(self, name):
            if not name.startswith('_'):
                self._check(name)
            return object.__getattribute__(self, name)

        def __setattr__(self, name, value):
            if not name.startswith('_'):
                self._check(name)
            object.__setattr__(self, name, value)

        @classmethod
        def _check(cls, name):
            if f'{cls.__name__}.{name}' not in names:
                raise AttributeError(f'TensorRT {flavour}: {cls.__name__} has no {name}')

    def failing(call):
        """Return whether a call is to fail; if so, log an error."""
        if call in fail:
            state.logger.log(ILogger.Severity.ERROR, f'[{call}] failed on command')
        return call in fail

    class ILogger:
        Severity = enum.IntEnum('Severity', ('INTERNAL_ERROR', 'ERROR', 'WARNING'))

        def __init__(self):
            state.logger = self

    class Runtime(Strict):
        def __init__(self, logger):
            assert isinstance(logger, ILogger)
            if cuda._driver == 0:
                raise SystemError('made without CUDA: the real one would end the process')
            state.made.append('Runtime')
            if 'Runtime' in fail:
                raise TypeError('pybind11::init(): factory function returned nullptr')

        def deserialize_cuda_engine(self, plan):
            assert isinstance(plan, bytes) and plan[:4] == b'plan'
            size = int.from_bytes(plan[4:8], 'little')
            head = json.loads(plan[8:8 + size])
            if failing('deserialize_cuda_engine') or head['version'] != version:
                return None
            engine = ICudaEngine()
            engine._session, engine._shapes = _session(plan[8 + size:]), head['shapes']
            engine._output_shapes = {}
            return engine

    class ICudaEngine(Strict):
        def create_runtime_config(self):
            return IRuntimeConfig()

        def create_execution_context(self, *config):
            if failing('create_execution_context'):
                return None
            context = IExecutionContext()
            context._engine, context._addresses = self, {}
            context._config, = config or (None,)
            return context

    class IRuntimeConfig(Strict):
        _runtime_cache = None

        def create_runtime_cache(self):
            return IRuntimeCache()

        def set_runtime_cache(self, runtime_cache):
            self._runtime_cache = runtime_cache

        @property
        def dynamic_shapes_kernel_specialization_strategy(self):
            return self._strategy

        @dynamic_shapes_kernel_specialization_strategy.setter
        def dynamic_shapes_kernel_specialization_strategy(self, strategy):
            self._strategy = strategy

    class IRuntimeCache(Strict):
        def __init__(self):
            self._kernels = set()

        def serialize(self):
            return memoryview(json.dumps([cuda._gpu, sorted(self._kernels)]).encode())

        def deserialize(self, data):
            gpu, kernels = json.loads(data)
            if gpu == list(cuda._gpu):
                self._kernels = set(map(tuple, kernels))
            return gpu == list(cuda._gpu)

    class IExecutionContext(Strict):
        def set_input_shape(self, name, shape):
            self._shape = tuple(shape)
            smallest, largest = self._engine._shapes
            inside = all(a <= b <= c for a, b, c in zip(smallest, shape, largest))
            return inside and not failing('set_input_shape')

        def infer_shapes(self):
            return ['the shape of crop'] if 'infer_shapes' in fail else []

        def get_tensor_shape(self, name):
            shapes = self._engine._output_shapes
            if self._shape not in shapes:
                shapes[self._shape] = {
                    output: value.shape for output, value in
                    self._compute(np.zeros(self._shape, np.float32)).items()}
            return shapes[self._shape][name]

        def set_tensor_address(self, name, address):
            assert address in cuda._device
            self._addresses[name] = address
            return not failing('set_tensor_address')

        def execute_async_v3(self, stream):
            assert type(stream) is int
            if self._config is not None:
                self._compile()
            when = fail.get('execute_async_v3')
            if when == 'always' or (when == 'captured' and cuda._captured is not None):
                failing('execute_async_v3')
                return False
            cuda._put(stream, self._kernel)
            return True

        def _compile(self):
            kernels, shape = self._config._runtime_cache._kernels, self._shape
            if shape not in kernels:
                assert self._config._strategy == 'EAGER' and cuda._captured is None
                kernels.add(shape)
                state.compiled += 1

        def _kernel(self):
            session = self._engine._session
            name, = (tensor.name for tensor in session.get_inputs())
            x = np.frombuffer(cuda._at(self._addresses[name], 4 * int(np.prod(self._shape))),
                              np.float32)
            for output, value in self._compute(x.reshape(self._shape)).items():
                data = np.ascontiguousarray(value).tobytes()
                cuda._at(self._addresses[output], len(data))[:] = data

        def _compute(self, x):
            session = self._engine._session
            names = [output.name for output in session.get_outputs()]
            return dict(zip(names, session.run(names, {session.get_inputs()[0].name: x})))

    members = {'ILogger': ILogger, 'Runtime': Runtime,
               'DynamicShapesKernelSpecializationStrategy': SimpleNamespace(EAGER='EAGER')}
    top = {name.split('.')[0] for name in names}
    return SimpleNamespace(__version__=version, _state=state,
                           **{name: members.get(name) for name in top})


_sessions: dict[bytes, object] = {}


def _session(onnx: bytes):
    import onnxruntime
    if onnx not in _sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        _sessions[onnx] = onnxruntime.InferenceSession(onnx, options,
                                                       providers=['CPUExecutionProvider'])
    return _sessions[onnx]
