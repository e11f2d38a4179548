# SPDX-License-Identifier: Apache-2.0
"""From an ONNX file to a TensorRT plan, with versions 8.6, 10 and 11 alike."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.tensorrt.api import construct, version, why

WORKSPACE = 256 << 20  # bytes; far more than networks of 2 million weights can use
TICK = 5.0  # seconds between two signs of life


def build_plan(trt, logger, onnx: bytes, half: bool,
               shapes: tuple[tuple[int, ...], tuple[int, ...]], timings: bytes,
               report: Callable[[str], None]) -> tuple[bytes, bytes]:
    """Build a plan for this GPU; takes seconds to minutes.

    :param onnx: the network; if `half`, with FP16 in it: types are those of the file.
    :param shapes: of the smallest and the largest input, batch axis included.
    :param timings: a timing cache of earlier builds, or b''.
    :param report: is told every few seconds how far the build is.
    :returns: the plan, and the timing cache to keep for the next build.
    :raises EngineUnavailable: TensorRT cannot; the message holds its reasons.
    """
    builder = construct(trt.Builder, logger)
    network = builder.create_network(_network_flags(trt))
    parser = construct(trt.OnnxParser, network, logger)
    if not parser.parse(onnx):
        reasons = [parser_error.desc() for parser_error in
                   (parser.get_error(i) for i in range(parser.num_errors))]
        raise EngineUnavailable(f'TensorRT cannot read the network: '
                                f'{"; ".join(reasons) or why(logger)}')
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    if not half:
        config.clear_flag(trt.BuilderFlag.TF32)  # 10 bits are not what FP32 promises
    elif version(trt) < (10,):
        config.set_flag(trt.BuilderFlag.FP16)  # there FP16 in the file needs permission
        _keep_types(trt, network, config)
    profile = builder.create_optimization_profile()
    smallest, largest = shapes
    tensor = network.get_input(0)
    # tuned for one face before a wide camera: what a robot sees most, and must see fast
    try:
        profile.set_shape(tensor.name, smallest, (1, *largest[1:]), largest)
        accepted = config.add_optimization_profile(profile) >= 0
    except ValueError as error:
        accepted = False
        logger.errors.append(str(error))
    if not accepted:
        raise EngineUnavailable(f'TensorRT refuses inputs of {smallest} to {largest}: '
                                f'{why(logger)}')
    # the configuration keeps neither alive, and the build needs both
    alive = [_use_timings(config, timings, report)]
    with _signs_of_life(trt, config, report) as monitor:
        alive.append(monitor)
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineUnavailable(f'TensorRT {trt.__version__} built no engine: {why(logger)}')
    timing_cache = config.get_timing_cache()
    return bytes(plan), b'' if timing_cache is None else bytes(timing_cache.serialize())


def _network_flags(trt) -> int:
    """Explicit batch, and types as they stand in the file, as each version wants to be told."""
    flag = trt.NetworkDefinitionCreationFlag
    if version(trt) < (10,):
        return 1 << int(flag.EXPLICIT_BATCH)
    if version(trt) < (11,):
        return 1 << int(flag.STRONGLY_TYPED)
    return 0  # both are a matter of course


def _keep_types(trt, network, config) -> None:
    """Keep layers in single precision that the file has so; TensorRT 8 would choose what is fast.

    Half precision would turn the small numbers of surface normals into 0 / 0.
    """
    if version(trt) < (10,):
        config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
        for layer in (network.get_layer(i) for i in range(network.num_layers)):
            tensor = layer.get_output(0)
            if layer.type != trt.LayerType.CAST and tensor.dtype == trt.DataType.FLOAT:
                layer.precision = trt.DataType.FLOAT


def _use_timings(config, timings: bytes, report):
    """Start from the timings of earlier builds, if they are of this TensorRT and this GPU."""
    timing_cache = config.create_timing_cache(timings)
    if timing_cache is not None and config.set_timing_cache(timing_cache, False):
        return timing_cache
    if timings:
        report('timings of earlier builds are of another GPU or TensorRT: measuring anew')
        return _use_timings(config, b'', report)
    report('TensorRT takes no timing cache: the next build will take as long')
    return None


@contextmanager
def _signs_of_life(trt, config, report):
    """Report every few seconds that the build goes on; from TensorRT 10 on, also how far it is."""
    started, ended, phase = time.monotonic(), threading.Event(), ['']
    monitor = _new_monitor(trt, phase)
    if version(trt) >= (10,):
        config.progress_monitor = monitor

    def tick():
        while not ended.wait(TICK):
            report(f'building for {time.monotonic() - started:.0f} s{phase[0]}')

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield monitor
    finally:
        ended.set()
        ticker.join()


def _new_monitor(trt, phase: list[str]):
    """A progress monitor that writes the outermost phase and its share done into `phase[0]`."""
    if version(trt) < (10,):
        return None

    class Monitor(trt.IProgressMonitor):

        def __init__(self):
            trt.IProgressMonitor.__init__(self)
            self._steps = {}

        def phase_start(self, phase_name, parent_phase, num_steps):
            if parent_phase is None:
                self._steps[phase_name] = num_steps
                phase[0] = f', {phase_name}'

        def step_complete(self, phase_name, step):
            steps = self._steps.get(phase_name)
            if steps:
                phase[0] = f', {phase_name}: step {step + 1} of {steps}'
            return True  # go on

        def phase_finish(self, phase_name):
            self._steps.pop(phase_name, None)

    return Monitor()
