# SPDX-License-Identifier: Apache-2.0
"""TensorRT without a GPU, in the flavours of `tensorrt_names.json`.

Strict: a name that a version does not have raises AttributeError, as does one that the list lacks.
What it builds runs by onnxruntime on the memory of `fake_cuda`. `fail` names calls that shall fail
as the real ones do: with None, False or a wrong value, and an error for the logger.
"""
from __future__ import annotations

import enum
import json
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np

NAMES = json.loads((Path(__file__).parent / 'tensorrt_names.json').read_text())
# What `tensorrt.__version__` says in these versions
VERSIONS = {'8.6.1': '8.6.1', '10.3.0': '10.3.0', '10.16.1': '10.16.1.11', '11.4.0': '11.4.0.106'}
FLAG_BITS = {'EXPLICIT_BATCH': 0, 'STRONGLY_TYPED': {'10': 1, '11': 0}}


def make(flavour: str, cuda, fail: dict | None = None):
    """A stand-in for the module `tensorrt`."""
    names, fail = set(NAMES[flavour]), fail if fail is not None else {}
    state = SimpleNamespace(cuda=cuda, fail=fail, flavour=flavour, made=[], builds=0,
                            flags=None, while_building=lambda: None)

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
        """Whether a call was told to fail; then its logger hears why."""
        if call in fail:
            state.logger.log(logger_severity.ERROR, f'[{call}] failed on command')
        return call in fail

    def enumeration(name, values=None):
        members = sorted(full.split('.', 1)[1] for full in names if full.startswith(f'{name}.'))
        return enum.IntEnum(name, {m: (values or {}).get(m, i) for i, m in enumerate(members)})

    logger_severity = enum.IntEnum('Severity', {m: i for i, m in enumerate(
        ('INTERNAL_ERROR', 'ERROR', 'WARNING', 'INFO', 'VERBOSE'))})
    major = flavour.split('.')[0]
    flags = enumeration('NetworkDefinitionCreationFlag', {
        name: bit if isinstance(bit, int) else bit.get(major)
        for name, bit in FLAG_BITS.items()})
    builder_flags = enumeration('BuilderFlag')
    data_types, modes = enumeration('DataType'), enumeration('TensorIOMode')
    pools, layer_types = enumeration('MemoryPoolType'), enumeration('LayerType')

    class ILogger:
        Severity = logger_severity

        def __init__(self):
            state.logger = self

    class IProgressMonitor:
        pass

    def constructed(kind):
        if cuda._driver == 0:
            raise SystemError(f'{kind} made without CUDA: the real one would end the process')
        state.made.append(kind)
        if kind in fail:
            raise TypeError('pybind11::init(): factory function returned nullptr')

    class Builder(Strict):
        def __init__(self, logger):
            assert isinstance(logger, ILogger)
            constructed('Builder')

        def create_network(self, bits):
            state.flags = {flag.name for flag in flags if bits >> flag & 1}
            known = sum(1 << flag for flag in flags)
            assert bits & ~known == 0, f'unknown network flags {bits:b}'
            if major == '8':
                assert state.flags == {'EXPLICIT_BATCH'}
            return INetworkDefinition()

        def create_builder_config(self):
            return IBuilderConfig()

        def create_optimization_profile(self):
            return IOptimizationProfile()

        def build_serialized_network(self, network, config):
            state.builds += 1
            if failing('build_serialized_network'):
                return None
            typed = major != '8' and (major != '10' or 'STRONGLY_TYPED' in state.flags)
            half = b'_fp16' in network._onnx
            assert not (typed and 'FP16' in config._flags), 'FP16 on a strongly typed network'
            if half and not typed and 'FP16' not in config._flags:
                state.logger.log(logger_severity.ERROR, 'fp16 is not configured in the builder')
                return None
            if half and not typed:  # whatever is in single precision must have been kept so
                assert 'PREFER_PRECISION_CONSTRAINTS' in config._flags
                free = [layer for layer in network._layers
                        if layer._precision is None and not layer._cast]
                assert 0 < len(free) < len(network._layers)
                assert all(layer._tensor._half for layer in free)
            if config._timing_cache() is None and 'set_timing_cache' not in fail:
                raise SystemError('the timing cache is gone: the real build would crash')
            if getattr(config, '_monitor', None) is not None:
                monitor = config._monitor
                monitor.phase_start('Building Engine', None, 2)
                monitor.phase_start('Tactics', 'Building Engine', 1)
                assert monitor.step_complete('Building Engine', 0)
                assert monitor.step_complete('Tactics', 0)
                monitor.phase_finish('Tactics')
            state.while_building()
            config._timing = b'timings of ' + flavour.encode()
            head = json.dumps({'version': flavour, 'profile': config._profile}).encode()
            return memoryview(b'plan' + len(head).to_bytes(4, 'little') + head + network._onnx)

    class INetworkDefinition(Strict):
        _onnx = b''

        def get_input(self, i):
            tensor = ITensor()
            tensor._name = _session(self._onnx).get_inputs()[i].name
            return tensor

        @property
        def num_layers(self):
            import onnx
            model = onnx.shape_inference.infer_shapes(onnx.load_from_string(self._onnx))
            types = {value.name: value.type.tensor_type.elem_type for value in
                     (*model.graph.value_info, *model.graph.output)}
            self._layers = []
            for node in model.graph.node:
                layer = ILayer()
                layer._cast, layer._tensor = node.op_type == 'Cast', ITensor()
                layer._tensor._half = types.get(node.output[0]) != onnx.TensorProto.FLOAT
                self._layers.append(layer)
            return len(self._layers)

        def get_layer(self, i):
            return self._layers[i]

    class ILayer(Strict):
        _precision = None

        @property
        def type(self):
            return layer_types.CAST if self._cast else 'LayerType.CONVOLUTION'

        def get_output(self, i):
            return self._tensor

        @property
        def precision(self):
            return self._precision

        @precision.setter
        def precision(self, value):
            assert value == data_types.FLOAT and not self._cast
            self._precision = value

    class ITensor(Strict):
        @property
        def name(self):
            return self._name

        @property
        def dtype(self):
            return 'DataType.HALF' if self._half else data_types.FLOAT

    class OnnxParser(Strict):
        def __init__(self, network, logger):
            constructed('OnnxParser')
            self._network = network

        def parse(self, data):
            assert isinstance(data, bytes)
            self._network._onnx = data
            return 'parse' not in fail

        @property
        def num_errors(self):
            return 2 if 'parse' in fail else 0

        def get_error(self, i):
            error = ParserError()
            error._text = f'parser error {i}'
            return error

    class ParserError(Strict):
        def desc(self):
            return self._text

    class IOptimizationProfile(Strict):
        def set_shape(self, name, least, best, most):
            assert all(a <= b <= c for a, b, c in zip(least, best, most))
            self._shape = name, tuple(least), tuple(most)

    class ITimingCache(Strict):
        def serialize(self):
            return memoryview(self._data)

    class IBuilderConfig(Strict):
        def __init__(self):
            self._flags, self._timing, self._profile = {'TF32'}, b'', None

        def set_flag(self, flag):
            self._flags.add(builder_flags(flag).name)

        def clear_flag(self, flag):
            self._flags.discard(builder_flags(flag).name)

        def set_memory_pool_limit(self, pool, size):
            assert pool in pools and size > 0

        def add_optimization_profile(self, profile):
            self._profile = profile._shape
            return -1 if failing('add_optimization_profile') else 0

        def create_timing_cache(self, data):
            if data == b'broken':
                return None
            timing_cache = ITimingCache()
            timing_cache._data = data
            return timing_cache

        def set_timing_cache(self, timing_cache, ignore_mismatch):
            assert not ignore_mismatch, 'timings of another GPU would be taken'
            if timing_cache._data not in (b'', b'timings of ' + flavour.encode()):
                return False
            self._timing_cache = weakref.ref(timing_cache)
            return 'set_timing_cache' not in fail

        def get_timing_cache(self):
            if not self._timing:
                return None
            timing_cache = ITimingCache()
            timing_cache._data = self._timing
            return timing_cache

        @property
        def progress_monitor(self):
            return self._monitor

        @progress_monitor.setter
        def progress_monitor(self, monitor):
            assert isinstance(monitor, IProgressMonitor)
            self._monitor = monitor

    class Runtime(Strict):
        def __init__(self, logger):
            assert isinstance(logger, ILogger)
            constructed('Runtime')

        def deserialize_cuda_engine(self, plan):
            assert isinstance(plan, bytes) and plan[:4] == b'plan'
            size = int.from_bytes(plan[4:8], 'little')
            head = json.loads(plan[8:8 + size])
            if failing('deserialize_cuda_engine') or head['version'] != flavour:
                return None
            engine = ICudaEngine()
            engine._session, engine._profile = _session(plan[8 + size:]), head['profile']
            return engine

    class ICudaEngine(Strict):
        def _tensors(self):
            return [*self._session.get_inputs(), *self._session.get_outputs()]

        @property
        def num_io_tensors(self):
            return len(self._tensors())

        def get_tensor_name(self, i):
            return fail.get('get_tensor_name', self._tensors()[i].name)

        def _tensor(self, name):
            return next((t for t in self._tensors() if t.name == name), self._tensors()[0])

        def get_tensor_dtype(self, name):
            return 'DataType.HALF' if 'get_tensor_dtype' in fail else data_types.FLOAT

        def get_tensor_mode(self, name):
            inputs = [tensor.name for tensor in self._session.get_inputs()]
            return modes.INPUT if name in inputs else 'TensorIOMode.OUTPUT'

        def get_tensor_shape(self, name):
            shape = self._tensor(name).shape
            return tuple(axis if isinstance(axis, int) else -1 for axis in shape)

        def create_execution_context(self):
            if failing('create_execution_context'):
                return None
            context = IExecutionContext()
            context._engine, context._addresses, context._runs = self, {}, 0
            return context

    class IExecutionContext(Strict):
        def set_input_shape(self, name, shape):
            known, least, most = self._engine._profile
            assert name == known
            self._shape = tuple(shape)
            inside = all(a <= b <= c for a, b, c in zip(least, shape, most))
            return inside and not failing('set_input_shape')

        def infer_shapes(self):
            return ['the shape of crop'] if 'infer_shapes' in fail else []

        def get_tensor_shape(self, name):
            if not hasattr(self._engine, '_shapes'):
                self._engine._shapes = {}
            shapes = self._engine._shapes
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
            if self._addresses.keys() != {t.name for t in self._engine._tensors()}:
                state.logger.log(logger_severity.ERROR, 'an address is not set')
                return False
            self._runs += 1
            when = fail.get('execute_async_v3')
            if when == 'always' or (when == 'captured' and cuda._captured is not None):
                state.logger.log(logger_severity.ERROR, '[execute_async_v3] failed on command')
                return False
            cuda._put(stream, self._kernel)
            return True

        def _kernel(self):
            name, = (tensor.name for tensor in self._engine._session.get_inputs())
            size = 4 * int(np.prod(self._shape))
            x = np.frombuffer(cuda._at(self._addresses[name], size), np.float32)
            for output, value in self._compute(x.reshape(self._shape)).items():
                data = np.ascontiguousarray(value).tobytes()
                cuda._at(self._addresses[output], len(data))[:] = data

        def _compute(self, x):
            session = self._engine._session
            names = [output.name for output in session.get_outputs()]
            return dict(zip(names, session.run(names, {session.get_inputs()[0].name: x})))

    class Module:
        """`tensorrt` itself: only the top-level names of this version."""

        __version__ = VERSIONS[flavour]
        _state = state

    public = {'BuilderFlag': builder_flags, 'DataType': data_types, 'TensorIOMode': modes,
              'MemoryPoolType': pools, 'LayerType': layer_types,
              'NetworkDefinitionCreationFlag': flags, 'ILogger': ILogger,
              'IProgressMonitor': IProgressMonitor, 'Builder': Builder, 'OnnxParser': OnnxParser,
              'Runtime': Runtime}
    for name, value in public.items():
        if any(known.split('.')[0] == name for known in names):
            setattr(Module, name, value)
    return Module()


_sessions: dict[bytes, object] = {}


def _session(onnx: bytes):
    import onnxruntime
    if onnx not in _sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        _sessions[onnx] = onnxruntime.InferenceSession(onnx, options,
                                                       providers=['CPUExecutionProvider'])
    return _sessions[onnx]
