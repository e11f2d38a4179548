# SPDX-License-Identifier: Apache-2.0
"""Plans (built TensorRT engines) as files, each beside a JSON card that describes it."""
from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from depthface_ros.engines.tensorrt.trusted_files import PRIVATE, read_trusted, write_whole

SCHEMA = 2
ANY_GPU = 'any'


@dataclass(frozen=True)
class Recipe:
    """All that a plan depends on: if any of it changes, another plan is needed."""

    network: str
    onnx_sha256: str
    precision: str
    shapes: tuple  # of the smallest and the largest input, batch axis included
    outputs: dict  # name -> shape without the batch axis
    tensorrt: str
    gpu: str  # its name, or ANY_GPU of the compute capabilities
    compute_capabilities: tuple[str, ...]  # of a plan: all that run it; of a GPU: its own
    schema: int = SCHEMA

    @property
    def file_name(self) -> str:
        """The name of the plan's file."""
        return f'{self.network}.{self.precision}.plan'


def load_plan(file: Path, recipe: Recipe) -> tuple[bytes | None, str]:
    """Return a plan that was built by this recipe; or None, and the reason.

    :raises EngineUnavailable: another user could have written it.
    """
    card_file = file.with_suffix('.json')
    card, plan = read_trusted(card_file), read_trusted(file)
    if plan is None or card is None:
        return None, 'there is none yet'
    expected = json.loads(json.dumps(asdict(recipe)))  # tuples become lists
    try:
        built = json.loads(card)
        found = {name: built[name] for name in expected}
        digest, known = built['plan_sha256'], set(found['compute_capabilities'])
    except (ValueError, KeyError, TypeError) as error:
        return None, f'its card {card_file.name} is broken ({error!r})'
    if digest != hashlib.sha256(plan).hexdigest():
        return None, 'the file is not the one that was built (sha256 differs)'
    capabilities = expected.pop('compute_capabilities')
    if not known.issuperset(capabilities):
        return None, (f'it is for compute capability {", ".join(found["compute_capabilities"])}, '
                      f'expected {", ".join(capabilities)}')
    for name, value in expected.items():
        if found[name] != value:
            return None, f'{name} was {_short(found[name])} and is {_short(value)} now'
    return plan, ''


def _short(value) -> str:
    text = str(value)
    return text if len(text) <= 60 else f'{text[:12]}...'


def store_plan(file: Path, recipe: Recipe, plan: bytes, mode: int = PRIVATE, **more) -> None:
    """Write a plan, and beside it a card with its recipe, its hash and `more` about it."""
    card = {**asdict(recipe), 'plan_sha256': hashlib.sha256(plan).hexdigest(),
            'plan_bytes': len(plan), 'built': time.strftime('%Y-%m-%dT%H:%M:%S%z'), **more}
    write_whole(file, plan, mode)
    write_whole(file.with_suffix('.json'), json.dumps(card, indent=2).encode() + b'\n', mode)
