# SPDX-License-Identifier: Apache-2.0
"""What runs the networks: one small file per runtime behind one protocol."""
from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from depthface_ros.engines.contract import NETWORKS

ENGINES = ('tensorrt', 'cuda', 'cpu')  # best first: the order in which 'auto' tries them
MODELS_FOLDER = Path(__file__).resolve().parents[1] / 'models'


class EngineUnavailable(RuntimeError):
    """This engine cannot run on this machine; the message says why."""


class Engine(Protocol):
    """Runs the networks of :data:`depthface_ros.engines.contract.NETWORKS`."""

    name: str

    def run(self, network: str, array: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name, each (B, ...) float32, of one network for an input (B, ...) float32."""


def open_engine(name: str = 'auto',
                models_folder: Path = MODELS_FOLDER) -> tuple[Engine, list[tuple[str, str]]]:
    """Load the networks and run each once, so that an engine that opens is one that works.

    :param name: one of :data:`ENGINES`, or 'auto' for the first of them that works.
    :returns: the engine, and for 'auto' the (name, reason) of each better one that does not work.
    :raises ValueError: no such engine.
    :raises EngineUnavailable: the engine asked for, or with 'auto' every engine, does not work.
    """
    if name not in ('auto', *ENGINES):
        raise ValueError(f"engine {name!r}: expected one of 'auto', "
                         f'{", ".join(map(repr, ENGINES))}')
    skipped = []
    for candidate in ENGINES if name == 'auto' else (name,):
        try:
            return _open(candidate, models_folder), skipped
        except EngineUnavailable as error:
            skipped.append((candidate, str(error)))
    raise EngineUnavailable('; '.join(f'engine {failed}: {reason}' for failed, reason in skipped))


def _open(name: str, models_folder: Path) -> Engine:
    if name != 'cpu':
        raise EngineUnavailable("not available in this version; use engine='cpu' or 'auto'")
    from depthface_ros.engines.onnxruntime_cpu import OnnxRuntimeCpu
    engine = OnnxRuntimeCpu(models_folder)
    for network, contract in NETWORKS.items():
        for shape in contract.input_shapes:
            engine.run(network, np.zeros((1, *shape), np.float32))
    return engine
