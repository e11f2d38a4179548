# SPDX-License-Identifier: Apache-2.0
"""The networks on one CPU core, by ONNX Runtime."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.contract import NETWORKS


class OnnxRuntimeCpu:
    """All networks of a models folder as ONNX Runtime sessions."""

    name = 'cpu'

    def __init__(self, models_folder: Path, threads: int = 1):
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineUnavailable(f'{error}; pip install onnxruntime') from error
        self.description = f'onnxruntime {onnxruntime.__version__}, fp32, {threads} thread'
        options = onnxruntime.SessionOptions()
        # Networks this small gain nothing from a second thread, and ONNX Runtime's threads spin
        # while they wait: at camera rate its defaults keep a core busy at 80 % for nothing.
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors; warnings are about graph details
        self._sessions = {}
        for network, contract in NETWORKS.items():
            file = Path(models_folder) / f'{network}.onnx'
            if not file.is_file():
                raise EngineUnavailable(f'{file} is missing')
            try:
                session = onnxruntime.InferenceSession(
                    str(file), options, providers=['CPUExecutionProvider'])
            except Exception as error:  # onnxruntime's exceptions share no base class
                raise EngineUnavailable(f'{file} does not load: {error}') from error
            contract.check(network, {i.name: tuple(i.shape) for i in session.get_inputs()},
                           {o.name: tuple(o.shape) for o in session.get_outputs()})
            self._sessions[network] = session, list(contract.outputs)

    def run(self, network: str, array: np.ndarray) -> dict[str, np.ndarray]:
        session, outputs = self._sessions[network]
        return dict(zip(outputs, session.run(outputs, {NETWORKS[network].input_name: array})))
