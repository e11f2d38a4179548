# SPDX-License-Identifier: Apache-2.0
"""The stand-in for CUDA has the signatures of the real module, where that is installed; needs no GPU."""
from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import fake_cuda
import pytest

from depthface_ros.engines.tensorrt import cuda_runtime

USED = {node.value for node in ast.walk(ast.parse(Path(cuda_runtime.__file__).read_text()))
        if isinstance(node, ast.Constant) and re.fullmatch(r'cuda[A-Z]\w+', str(node.value))}
USED |= set(re.findall(r'runtime\.(cuda\w+)', Path(cuda_runtime.__file__).read_text()))


def test_all_that_is_used_stands_in_the_fake():
    assert len(USED) > 15 and all(hasattr(fake_cuda.FakeCuda, name) for name in USED)


@pytest.mark.parametrize('name', sorted(USED))
def test_the_real_module_has_it_with_as_many_parameters(name):
    runtime = pytest.importorskip('cuda.bindings.runtime')
    real, fake = getattr(runtime, name), getattr(fake_cuda.FakeCuda, name)
    if inspect.isfunction(fake):
        signature = re.match(rf'{name}\((.*)\)', real.__doc__.splitlines()[0])[1]
        count = len([part for part in signature.split(',') if part.strip()])
        assert count == len(inspect.signature(fake).parameters) - 1  # without self
    elif isinstance(fake, type):
        for member in fake:
            assert getattr(real, member.name) == member.value
    else:
        assert int(real) == fake
