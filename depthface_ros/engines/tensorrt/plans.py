# SPDX-License-Identifier: Apache-2.0
"""The plans of a folder of networks: loaded where they are, built where they are not."""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.model_file import file_hash, float_file, load_model
from depthface_ros.engines.tensorrt.api import builds_ahead, describe, new_logger, open_tensorrt
from depthface_ros.engines.tensorrt.build import build_plan
from depthface_ros.engines.tensorrt.cuda_runtime import Gpu
from depthface_ros.engines.tensorrt.plan_files import ANY_GPU, Recipe, load_plan, store_plan
from depthface_ros.engines.tensorrt.trusted_files import SHARED, cache_folder, check_folder

PREBUILT = 'DEPTHFACE_ENGINES'  # environment variable: a folder of plans that were built ahead


class Plans:
    """Loads and builds the plans of a folder of networks with one TensorRT."""

    def __init__(self, trt, logger, models_folder: Path, precision: str,
                 report: Callable[[str], None]):
        """Choose the networks.

        :param precision: 'fp16' or 'fp32'.
        :param report: called with what is built, the reason, and the time it took.
        """
        self._trt, self._logger, self._models = trt, logger, models_folder
        self._precision, self._report = precision, report

    def for_gpu(self, network: str, gpu: Gpu, may_build: bool) -> bytes:
        """Return the plan of a network for this machine's GPU, built and kept if it is missing.

        :raises EngineUnavailable: it must be built and may not be, or cannot be.
        """
        recipe = self._recipe(network, gpu.name, (gpu.compute_capability,))
        reasons = []
        if os.environ.get(PREBUILT):
            folder = Path(os.environ[PREBUILT]).absolute()
            check_folder(folder, f'{PREBUILT}: ')
            plan, reason = load_plan(folder / recipe.file_name, recipe)
            if plan is not None:
                return plan
            reasons.append(f'{folder}: {reason}')
        folder = cache_folder(gpu.name)
        plan, reason = load_plan(folder / recipe.file_name, recipe)
        if plan is not None:
            return plan
        reason = '; '.join([*reasons, f'{folder}: {reason}'])
        if not may_build:
            raise EngineUnavailable(f'the engine of {network} must be built ({reason}); '
                                    '`depthface build-engines` does it, once, in some minutes')
        self._report(f'building the engine of {network} ({reason})')
        plan = self._build(recipe)
        try:
            store_plan(folder / recipe.file_name, recipe, plan,
                       driver=gpu.driver, cuda_runtime=gpu.runtime)
        except OSError as error:
            self._report(f'the engine of {network} cannot be kept: {error}')
        return plan

    def build_ahead(self, capabilities: tuple[str, ...], folder: Path) -> list[Path]:
        """Build all plans for GPUs that need not be here, and write them once all are built."""
        recipes = [self._recipe(network, ANY_GPU, capabilities) for network in NETWORKS]
        built = [self._build(recipe) for recipe in recipes]
        for recipe, plan in zip(recipes, built):
            store_plan(folder / recipe.file_name, recipe, plan, SHARED)
        return [folder / recipe.file_name for recipe in recipes]

    def _recipe(self, network: str, gpu: str, capabilities: tuple[str, ...]) -> Recipe:
        contract, file = NETWORKS[network], float_file(self._models, network)
        if not file.is_file():
            raise EngineUnavailable(f'{file} is missing')
        return Recipe(network, file_hash(file), self._precision,
                      contract.input_range, dict(contract.outputs), describe(self._trt),
                      ANY_GPU if builds_ahead(self._trt) else gpu, capabilities)

    def _build(self, recipe: Recipe) -> bytes:
        started = time.monotonic()
        model = load_model(self._models, recipe.network, recipe.precision == 'fp16')
        plan = build_plan(self._trt, self._logger, recipe, model.SerializeToString())
        self._report(f'{recipe.network}: built in {time.monotonic() - started:.1f} s')
        return plan


def build_ahead(models_folder: Path, capabilities: Sequence[str], precision: str, out: Path,
                report: Callable[[str], None]) -> list[Path]:
    """Build all plans on any machine, for GPUs of some compute capabilities; return the files.

    :param capabilities: as '8.9'; one file serves all of them.
    :param out: folder of the files; made if missing.
    :raises EngineUnavailable: no TensorRT for RTX, or it refuses; the message holds its reasons.
    """
    trt = open_tensorrt(without_gpu=True)
    plans = Plans(trt, new_logger(trt), models_folder, precision, report)
    out = out.absolute()
    out.mkdir(mode=0o755, parents=True, exist_ok=True)
    check_folder(out)
    return plans.build_ahead(tuple(capabilities), out)
