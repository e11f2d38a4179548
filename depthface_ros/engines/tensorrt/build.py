# SPDX-License-Identifier: Apache-2.0
"""From an ONNX file to a TensorRT plan, with TensorRT 8.6, 10, 11 and TensorRT for RTX alike."""
from __future__ import annotations

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.tensorrt.api import builds_ahead, construct, describe, take_errors
from depthface_ros.engines.tensorrt.plan_files import Recipe

WORKSPACE = 256 << 20  # bytes; far more than networks of 2 million weights can use


def build_plan(trt, logger, recipe: Recipe, onnx: bytes) -> bytes:
    """Build a plan: takes a second with TensorRT for RTX, else seconds to minutes.

    :param recipe: TensorRT for RTX builds for its compute capabilities, the others for the GPU of
        this machine.
    :param onnx: the network, with the types of the recipe's precision in it.
    :raises EngineUnavailable: TensorRT refuses; the message holds its reasons.
    """
    builder = construct(trt.Builder, logger)
    network = builder.create_network(_network_flags(trt))
    parser = construct(trt.OnnxParser, network, logger)
    if not parser.parse(onnx):
        raise EngineUnavailable(f'TensorRT cannot read the network {recipe.network}: '
                                f'{take_errors(logger)}')
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    if hasattr(trt.BuilderFlag, 'REQUIRE_USER_ALLOCATION'):
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)  # CUDA graphs need it
    if recipe.precision == 'fp16':
        _permit_half(trt, network, config)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)  # its 10 bits are not FP32
    _set_capabilities(trt, logger, config, recipe.compute_capabilities)
    _set_shapes(logger, builder, config, network.get_input(0), *recipe.shapes)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineUnavailable(f'{describe(trt)} built no engine of {recipe.network}: '
                                f'{take_errors(logger)}')
    return bytes(plan)


def _network_flags(trt) -> int:
    """Return the flags for types as in the file and a batch axis; the newest need neither."""
    if hasattr(trt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED'):
        return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    if hasattr(trt.NetworkDefinitionCreationFlag, 'EXPLICIT_BATCH'):
        return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    return 0


def _permit_half(trt, network, config) -> None:
    """Permit FP16 on TensorRT 8, and keep single what is single in the file; others just do.

    TensorRT 8 would choose the faster. Half precision turns the small numbers of surface normals
    into 0 / 0.
    """
    if hasattr(trt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED'):
        return
    config.set_flag(trt.BuilderFlag.FP16)
    config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
    for layer in (network.get_layer(i) for i in range(network.num_layers)):
        tensor = layer.get_output(0)
        if layer.type != trt.LayerType.CAST and tensor.dtype == trt.DataType.FLOAT:
            layer.precision = trt.DataType.FLOAT


def supported_capabilities(trt) -> tuple[str, ...]:
    """Return the compute capabilities that a module can build for on any machine, as '8.9'."""
    if not builds_ahead(trt):
        return ()
    names = [name[2:] for name in trt.ComputeCapability.__members__ if name.startswith('SM')]
    return tuple(f'{digits[:-1]}.{digits[-1]}' for digits in names)


def _set_capabilities(trt, logger, config, capabilities: tuple[str, ...]) -> None:
    """Choose the GPUs that shall run a plan, if the module can."""
    if not builds_ahead(trt):
        return
    supported = supported_capabilities(trt)
    config.num_compute_capabilities = len(capabilities)
    for i, capability in enumerate(capabilities):
        if capability not in supported:
            raise EngineUnavailable(f'{describe(trt)} does not support compute capability '
                                    f'{capability}, but {", ".join(supported)}')
        member = trt.ComputeCapability.__members__[f'SM{capability.replace(".", "")}']
        if not config.set_compute_capability(member, i):
            raise EngineUnavailable(f'{describe(trt)} refuses compute capability {capability}: '
                                    f'{take_errors(logger)}')


def _set_shapes(logger, builder, config, tensor, smallest: tuple, largest: tuple) -> None:
    """Declare the sizes of an input; tuned for one face, or one image of the widest camera."""
    profile = builder.create_optimization_profile()
    try:
        profile.set_shape(tensor.name, smallest, (1, *largest[1:]), largest)
        accepted = config.add_optimization_profile(profile) >= 0
    except ValueError as error:
        accepted = False
        logger.errors.append(str(error))
    if not accepted:
        raise EngineUnavailable(f'TensorRT refuses inputs of {smallest} to {largest}: '
                                f'{take_errors(logger)}')
