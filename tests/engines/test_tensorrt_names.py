# SPDX-License-Identifier: Apache-2.0
"""Every name of TensorRT in the sources exists in each version in which it is reached.

`tensorrt_names.json` holds, of the names used, those that the real bindings of each version have.
"""
from __future__ import annotations

import ast
import json
import operator
from pathlib import Path

import pytest

ENGINES = Path(__file__).resolve().parents[2] / 'depthface_ros' / 'engines' / 'tensorrt'
FILES = [ENGINES / f'{name}.py' for name in ('api', 'build', 'cache', 'trt_engine')]
NAMES = json.loads((Path(__file__).parents[1] / 'support' / 'tensorrt_names.json').read_text())
# Variables of these names hold objects of these classes, everywhere in the sources.
CLASSES = {
    'builder': 'Builder', 'network': 'INetworkDefinition', 'parser': 'OnnxParser',
    'parser_error': 'ParserError', 'config': 'IBuilderConfig', 'profile': 'IOptimizationProfile',
    'tensor': 'ITensor', 'layer': 'ILayer', 'timing_cache': 'ITimingCache', 'runtime': 'Runtime',
    'engine': 'ICudaEngine', 'context': 'IExecutionContext',
    'flag': 'NetworkDefinitionCreationFlag'}
COMPARISONS = {ast.Lt: operator.lt, ast.GtE: operator.ge}
# What a progress monitor or logger must define: TensorRT calls these.
CALLED_BACK = {'ILogger': {'log'},
               'IProgressMonitor': {'phase_start', 'step_complete', 'phase_finish'}}


class Names(ast.NodeVisitor):
    """Collects the names that are reached in one version: `if version(trt) < ...` is decided."""

    def __init__(self, version: str):
        self.version = tuple(map(int, version.split('.')[:2]))
        self.found: set[str] = set()

    def block(self, statements: list[ast.stmt]) -> bool:
        """Visit statements in their order; whether they always leave their function."""
        for statement in statements:
            verdict = self.decide(statement)
            if verdict is not None:
                if self.block(statement.body if verdict else statement.orelse):
                    return True
            else:
                self.visit(statement)
            if isinstance(statement, (ast.Return, ast.Raise)):
                return True
        return False

    def decide(self, statement: ast.stmt) -> bool | None:
        """What an `if` about the version decides; None for all else."""
        test = getattr(statement, 'test', None)
        if (isinstance(statement, ast.If) and isinstance(test, ast.Compare)
                and isinstance(test.left, ast.Call) and ast.unparse(test.left) == 'version(trt)'
                and isinstance(test.comparators[0], ast.Tuple)):
            limit = ast.literal_eval(test.comparators[0])
            return COMPARISONS[type(test.ops[0])](self.version, limit)
        return None

    def generic_visit(self, node):
        for _, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self.block(value)
            else:
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        self.visit(child)

    def visit_ClassDef(self, node):
        for base in map(ast.unparse, node.bases):
            if base.startswith('trt.'):
                defined = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
                assert defined == CALLED_BACK[base[4:]] | {'__init__'}
                self.found |= {f'{base[4:]}.{name}' for name in defined}
        self.generic_visit(node)

    def visit_Attribute(self, node):
        text = ast.unparse(node)
        if text.startswith('trt.') and text != 'trt.__version__':
            self.found.add(text[4:])
        else:
            holder = ast.unparse(node.value).removeprefix('self.').lstrip('_')
            if holder in CLASSES and not node.attr.startswith('_'):
                self.found.add(f'{CLASSES[holder]}.{node.attr}')
        self.generic_visit(node)


def used(version: str) -> set[str]:
    names = Names(version)
    for file in FILES:
        names.block(ast.parse(file.read_text()).body)
    return names.found


@pytest.mark.parametrize('version', NAMES)
def test_every_name_that_is_reached_exists(version):
    missing = used(version) - set(NAMES[version])
    assert not missing, f'TensorRT {version} lacks {sorted(missing)}'
    assert len(used(version)) > 45  # the names were found at all


def test_the_list_holds_the_names_that_are_used_and_no_others():
    everywhere = set().union(*map(used, NAMES))
    assert set().union(*NAMES.values()) == everywhere


def test_what_versions_do_not_share_is_reached_only_where_it_exists():
    assert 'BuilderFlag.FP16' in used('8.6.1') and 'BuilderFlag.FP16' not in used('11.4.0')
    assert 'IBuilderConfig.progress_monitor' not in used('8.6.1')
    assert 'NetworkDefinitionCreationFlag.STRONGLY_TYPED' in used('10.3.0') - used('11.4.0')


def test_a_call_that_a_version_lacks_is_found(tmp_path):
    source = ('def f(trt, config, context):\n    config.max_workspace_size = 1\n'
              '    if version(trt) < (10,):\n        return context.execute_async_v2()\n'
              '    context.execute_async_v3(0)\n')
    old, new = Names('8.6.1'), Names('10.3.0')
    for names in (old, new):
        names.block(ast.parse(source).body)
    assert new.found - set(NAMES['10.3.0']) == {'IBuilderConfig.max_workspace_size'}
    assert 'IExecutionContext.execute_async_v2' in old.found - new.found
