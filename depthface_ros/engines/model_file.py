# SPDX-License-Identifier: Apache-2.0
"""The ONNX file of a network, checked against the contract, and the card beside it."""
from __future__ import annotations

import hashlib
from pathlib import Path

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.half_precision import half_precision
from depthface_ros.engines.onnx_file import read_onnx
from depthface_ros.io.errors import one_line
from depthface_ros.io.text_files import read_json


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
        raise EngineUnavailable(f'{file} does not load: {one_line(error)}') from error
    NETWORKS[network].check(file, *map(_float_tensors, (model.graph.input, model.graph.output)))
    return model


def file_hash(file: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def hash_and_fault(file: Path) -> tuple[str, str]:
    """Return the sha256 of a file, and what is wrong with its card: '' if nothing is.

    The card is a JSON file of the same name; a file may have none.
    """
    digest, card = file_hash(file), file.with_suffix('.json')
    try:
        expected = read_json(card)['sha256'] if card.is_file() else digest
    except Exception as error:  # a broken card proves nothing about the network
        return digest, f'its card {card.name} is broken: {one_line(error)}'
    return digest, '' if expected == digest else f'NOT the file of its card {card.name}'


def _float_tensors(values) -> dict[str, tuple]:
    """Return name and shape, with None for unknown axes, of the values that are float32."""
    return {value.name: tuple(dim.dim_value or None for dim in value.type.tensor_type.shape.dim)
            for value in values if value.type.tensor_type.elem_type == 1}
