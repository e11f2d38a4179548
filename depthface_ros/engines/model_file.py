# SPDX-License-Identifier: Apache-2.0
"""The ONNX file of a network, checked, for engines that build their own network from it."""
from __future__ import annotations

from pathlib import Path

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.half_precision import half_precision
from depthface_ros.engines.onnx_file import read_onnx


def float_file(models_folder: Path, network: str) -> Path:
    """Return the file of a network as it was trained."""
    return Path(models_folder) / f'{network}.onnx'


def load_model(models_folder: Path, network: str, half: bool):
    """Return a network as an `onnx.ModelProto`, with FP16 convolutions if `half`.

    :raises EngineUnavailable: the package `onnx` or the file is missing, or the file is broken.
    :raises ValueError: inputs and outputs are not the float32 tensors of the contract.
    """
    file = float_file(models_folder, network)
    if not file.is_file():
        raise EngineUnavailable(f'{file} is missing')
    try:
        model = (half_precision if half else read_onnx)(file)
    except ImportError as error:
        raise EngineUnavailable(f'{error}: networks are read with it; pip install onnx') from error
    except Exception as error:  # protobuf's exceptions share no base class
        raise EngineUnavailable(f'{file} does not load: {error}') from error
    NETWORKS[network].check(file, *map(_float_tensors, (model.graph.input, model.graph.output)))
    return model


def _float_tensors(values) -> dict[str, tuple]:
    """Return name and shape, with None for unknown axes, of the values that are float32."""
    return {value.name: tuple(dim.dim_value or None for dim in value.type.tensor_type.shape.dim)
            for value in values if value.type.tensor_type.elem_type == 1}
