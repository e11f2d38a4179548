# SPDX-License-Identifier: Apache-2.0
"""The networks on one CPU core, by ONNX Runtime; in 8 bits if the processor is made for it."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from depthface_ros import compiled
from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.model_file import file_hash, float_file

MADE_FROM = 'made_from_sha256'  # metadata of a network in 8 bits: hash of the float network
# Instructions with which 8 bits take two thirds of the time of floats; with AVX-512 VNNI, half.
# Weights have 7 bits, so sums do not overflow and the results are the same with both.
BYTE_INSTRUCTIONS = 'avx2'


class OnnxRuntimeCpu:
    """All networks of a models folder as ONNX Runtime sessions."""

    def __init__(self, models_folder: Path, precision: str = 'int8', threads: int = 1):
        """Load the networks.

        :param precision: 'fp32'; or 'int8', which still runs in floats where the folder holds no
            network in 8 bits, or the processor is not made for it.
        :raises EngineUnavailable: a missing package, or a missing or broken file.
        :raises ValueError: inputs or outputs of a file are not those of the contract.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineUnavailable(f'{error}; pip install onnxruntime') from error
        self._runtime, self._options = onnxruntime, onnxruntime.SessionOptions()
        # Networks this small gain nothing from a second thread. ONNX Runtime's threads spin while
        # they wait: at camera rate its defaults keep a core 80 % busy.
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        self._options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        self._options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        self._options.graph_optimization_level = (
            onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
        self._options.log_severity_level = 3  # errors; warnings are about graph details

        self.name = 'cpu' if precision == 'int8' else 'cpu_fp32'
        in_bytes = precision == 'int8' and multiplies_bytes()
        self._sessions = {network: in_bytes and self._load_int8(models_folder, network)
                          or self._load(float_file(models_folder, network), network)
                          for network in NETWORKS}
        loops = 'compiled loops' if compiled.AVAILABLE else 'loops in numpy'
        self.description = ', '.join([
            f'onnxruntime {onnxruntime.__version__}', f'{threads} thread', loops,
            *(f'{network} {"int8" if _made_from(session) else "fp32"}'
              for network, session in self._sessions.items())])

    def run(self, network: str, array: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name, (B, ...) float32, for an input (B, ...) float32."""
        contract = NETWORKS[network]
        outputs = self._sessions[network].run(list(contract.outputs), {contract.input_name: array})
        return dict(zip(contract.outputs, outputs))

    def _load_int8(self, models_folder: Path, network: str):
        """Load a network in 8 bits; None unless it was made from the float network."""
        file, source = int8_file(models_folder, network), float_file(models_folder, network)
        if not (file.is_file() and source.is_file()):
            return None
        session = self._load(file, network)
        same = _made_from(session) == file_hash(source)
        return session if same else None

    def _load(self, file: Path, network: str):
        if not file.is_file():
            raise EngineUnavailable(f'{file} is missing')
        try:
            session = self._runtime.InferenceSession(
                str(file), self._options, providers=['CPUExecutionProvider'])
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise EngineUnavailable(f'{file} does not load: {error}') from error
        NETWORKS[network].check(file, {i.name: tuple(i.shape) for i in session.get_inputs()},
                                {o.name: tuple(o.shape) for o in session.get_outputs()})
        return session


def int8_file(models_folder: Path, network: str) -> Path:
    """Return the file of a network in 8 bits; `python -m training quantise` writes it."""
    return Path(models_folder) / f'{network}.int8.onnx'


def multiplies_bytes() -> bool:
    """Return whether this processor has instructions for networks in 8 bits."""
    try:
        with open('/proc/cpuinfo') as file:
            flags = next((line for line in file if line.startswith('flags')), '')
    except OSError:  # not Linux
        return False
    return BYTE_INSTRUCTIONS in flags.split()


def _made_from(session) -> str | None:
    return session.get_modelmeta().custom_metadata_map.get(MADE_FROM)
