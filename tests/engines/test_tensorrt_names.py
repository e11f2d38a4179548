# SPDX-License-Identifier: Apache-2.0
"""Every name of TensorRT in the sources exists in each version in which it is reached.

`tensorrt_names.json` lists the names used that the real bindings of each version have.
"""
from __future__ import annotations

import ast
from functools import reduce
from pathlib import Path

import pytest
from fake_tensorrt import NAMES, RTX

SOURCES = Path(__file__).resolve().parents[2] / 'depthface_ros' / 'engines' / 'tensorrt'
# Variables of these names hold objects of these classes, everywhere in the sources.
CLASSES = {
    'builder': 'Builder', 'network': 'INetworkDefinition', 'parser': 'OnnxParser',
    'config': 'IBuilderConfig', 'profile': 'IOptimizationProfile',
    'tensor': 'ITensor', 'layer': 'ILayer', 'runtime': 'Runtime',
    'engine': 'ICudaEngine', 'context': 'IExecutionContext', 'runtime_config': 'IRuntimeConfig',
    'runtime_cache': 'IRuntimeCache'}


class Names(ast.NodeVisitor):
    """Collects the names that are reached in one version, for `if hasattr(trt, ...)` is decided."""

    def __init__(self, version: str):
        self.known = NAMES[version]
        self.found: set[str] = set()

    def block(self, statements: list[ast.stmt]) -> bool:
        """Visit statements in their order; return whether they always leave their function."""
        for statement in statements:
            verdict = self.decide(statement.test) if isinstance(statement, ast.If) else None
            if verdict is None:
                self.visit(statement)
            elif self.block(statement.body if verdict else statement.orelse):
                return True
            if isinstance(statement, (ast.Return, ast.Raise)):
                return True
        return False

    def decide(self, test: ast.expr) -> bool | None:
        """Return what a condition on the version is; None for all others."""
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
            return True if True in map(self.decide, test.values) else None
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            verdict = self.decide(test.operand)
            return None if verdict is None else not verdict
        text = ast.unparse(test).replace('self._trt', 'trt')
        if text == 'builds_ahead(trt)':
            return 'ComputeCapability' in self.known
        if text.startswith('hasattr(trt'):
            name = text[len('hasattr(trt'):-1].replace(', ', '.').replace("'", '')
            return name[1:] in self.known
        return None

    def visit_IfExp(self, node):
        verdict = self.decide(node.test)
        for branch in [node.body, node.orelse] if verdict is None else [
                node.body if verdict else node.orelse]:
            self.visit(branch)

    def generic_visit(self, node):
        for _, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self.block(value)
            else:
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        self.visit(child)

    def visit_Attribute(self, node):
        text = ast.unparse(node).removesuffix('.__members__')
        if text.startswith('trt.') and text != 'trt.__version__':
            self.found.add(text[4:])
        else:
            holder = ast.unparse(node.value).removeprefix('self.').lstrip('_')
            if holder in CLASSES and not node.attr.startswith('_'):
                self.found.add(f'{CLASSES[holder]}.{node.attr}')
        self.generic_visit(node)


def used(version: str) -> set[str]:
    names = Names(version)
    for file in SOURCES.glob('*.py'):
        if file.name not in ('cuda_runtime.py', 'torch_trt_engine.py'):
            names.block(ast.parse(file.read_text()).body)
    return names.found


def marks(version: str) -> set[str]:
    """Return the listed names that no code calls. They distinguish versions by `hasattr`."""
    return {'HardwareCompatibilityLevel'} | ({'IRuntimeCache'} if version == RTX else set())


@pytest.mark.parametrize('version', NAMES)
def test_every_name_that_is_reached_exists(version):
    assert used(version) | marks(version) == NAMES[version]
    assert len(NAMES[version]) > 30  # the names were found at all


def test_names_that_versions_do_not_share_are_reached_only_where_they_exist():
    assert 'BuilderFlag.FP16' in used('8.6.1') and 'BuilderFlag.FP16' not in used('11.4.0')
    assert {'IRuntimeCache.serialize', 'BuilderFlag.REQUIRE_USER_ALLOCATION'} <= used(RTX)


def test_the_installed_library_has_the_listed_names():
    trt = pytest.importorskip('tensorrt_rtx', reason='no TensorRT for RTX for this platform')

    for name in NAMES[RTX]:
        reduce(getattr, name.split('.'), trt)  # AttributeError if it is missing


def test_a_call_that_a_version_lacks_is_found():
    source = ('def f(trt, config, context):\n    config.max_workspace_size = 1\n'
              "    if not hasattr(trt, 'IRuntimeCache'):\n"
              '        return context.execute_async_v2()\n    context.execute_async_v3(0)\n')
    old, new = Names('10.3.0'), Names(RTX)
    for names in (old, new):
        names.block(ast.parse(source).body)
    assert new.found - NAMES[RTX] == {'IBuilderConfig.max_workspace_size'}
    assert 'IExecutionContext.execute_async_v2' in old.found - new.found
