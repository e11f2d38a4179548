# SPDX-License-Identifier: Apache-2.0
"""TensorRT plans are built once, rebuilt when stale, and loaded only if no other user could write them."""
from __future__ import annotations

import json
import os

import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from fake_tensorrt import RTX
from tensorrt_machine import Machine

from depthface_ros.engines import EngineUnavailable, open_engine
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.tensorrt.plans import PREBUILT


@pytest.fixture
def machine(monkeypatch, tmp_path):
    return Machine(monkeypatch, tmp_path)


def test_engines_are_built_once_and_then_loaded(machine):
    machine.open()
    assert machine.builds == len(NETWORKS)
    assert 'there is none yet' in machine.reports[0]
    assert sorted(file.name for file in machine.cache.glob('*.plan')) == [
        f'{network}.fp16.plan' for network in sorted(NETWORKS)]
    machine.install('10.3.0').open()
    assert machine.builds == 0 and not machine.reports


def test_files_and_folders_are_for_their_user_only(machine):
    machine.open()
    for path in (machine.cache, *machine.cache.parents[:2]):
        assert path.stat().st_mode & 0o777 == 0o700
    files = list(machine.cache.iterdir())
    assert len(files) == 2 * len(NETWORKS)
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)


def stale_card(machine, **changes):
    file = machine.cache / 'head_pose.fp16.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def other_bytes(machine):
    with (machine.cache / 'head_pose.fp16.plan').open('ab') as file:
        file.write(b'!')


@pytest.mark.parametrize('spoil, reason', [
    (lambda m: stale_card(m, onnx_sha256='0' * 64), 'onnx_sha256 was 000000000000... and is'),
    (lambda m: stale_card(m, tensorrt='TensorRT 10.2.0'),
     'tensorrt was TensorRT 10.2.0 and is TensorRT 10.3.0 now'),
    (lambda m: stale_card(m, compute_capabilities=['8.6']),
     'it is for compute capability 8.6, expected 8.7'),
    (lambda m: stale_card(m, gpu='Fake Nano'), 'gpu was Fake Nano and is Fake Orin now'),
    (lambda m: stale_card(m, outputs={}), 'outputs was {} and is'),
    (lambda m: stale_card(m, schema=0), 'schema was 0'),
    (lambda m: stale_card(m, compute_capabilities=None), 'its card head_pose.fp16.json is broken'),
    (other_bytes, 'the file is not the one that was built (sha256 differs)'),
    (lambda m: (m.cache / 'head_pose.fp16.json').write_text('{'),
     'its card head_pose.fp16.json is broken'),
    (lambda m: (m.cache / 'head_pose.fp16.json').write_text('[]'),
     'its card head_pose.fp16.json is broken'),
    (lambda m: (m.cache / 'head_pose.fp16.json').unlink(), 'there is none yet'),
])
def test_a_stale_engine_is_built_again_with_the_reason(machine, spoil, reason):
    machine.open()
    spoil(machine)
    machine.install('10.3.0').open()
    assert machine.builds == 1
    assert f'building the engine of head_pose ({machine.cache}: {reason}' in machine.reports[0]
    machine.install('10.3.0').open()
    assert machine.builds == 0


def test_another_tensorrt_builds_all_again(machine):
    machine.open()
    machine.install('10.16.1').open()
    assert machine.builds == len(NETWORKS)


def test_without_permission_to_build_the_error_names_the_remedy(machine):
    with pytest.raises(EngineUnavailable, match=r'head_finder must be built \(.*there is none yet'
                                                r'\); `depthface build-engines`'):
        machine.open(build=False)
    assert machine.builds == 0


def test_auto_builds_nothing_that_takes_minutes(machine):
    engine, skipped = open_engine('auto')
    assert engine.name == 'cpu' and machine.builds == 0
    assert 'depthface build-engines' in dict(skipped)['tensorrt']
    machine.open()
    engine, skipped = open_engine('auto')
    assert engine.name == 'tensorrt' and not skipped


def test_auto_builds_with_tensorrt_for_rtx_in_a_second(machine):
    machine.install(RTX)
    engine, skipped = open_engine('auto')
    assert engine.name == 'tensorrt' and not skipped and machine.builds == len(NETWORKS)
    card = json.loads((machine.cache / 'head_pose.fp16.json').read_text())
    assert (card['gpu'], card['compute_capabilities']) == ('any', ['8.9'])


# ---- disks that cannot be written


@pytest.fixture
def no_home(monkeypatch, tmp_path):
    """Make it impossible to make the cache folder."""
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))


@pytest.mark.parametrize('flavour', ['10.3.0', RTX])
def test_auto_takes_the_next_engine_if_the_cache_folder_cannot_be_made(machine, no_home, flavour):
    engine, skipped = open_engine(machine.install(flavour) and 'auto')
    assert engine.name == 'cpu'
    assert 'folder for TensorRT engines cannot be made' in dict(skipped)['tensorrt']
    with pytest.raises(EngineUnavailable, match='cannot be made: .*XDG_CACHE_HOME'):
        open_engine('tensorrt')


def test_engines_built_ahead_need_no_cache_folder(machine, monkeypatch, request):
    machine.install(RTX).open()
    monkeypatch.setenv(PREBUILT, str(machine.cache))
    request.getfixturevalue('no_home')
    machine.install(RTX).open()
    assert machine.builds == 0 and 'kernels are compiled at every start' in machine.reports[0]


def test_an_engine_that_cannot_be_stored_runs_all_the_same(machine, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('depthface_ros.engines.tensorrt.plans.store_plan', full)
    machine.open()
    assert machine.builds == len(NETWORKS)
    assert any('cannot be kept: [Errno 28] No space left' in text for text in machine.reports)


def test_a_folder_of_engines_that_is_not_there_is_named(machine, monkeypatch):
    monkeypatch.setenv(PREBUILT, '/nowhere')
    with pytest.raises(EngineUnavailable, match='DEPTHFACE_ENGINES: /nowhere is not a folder'):
        machine.open()


# ---- what another user may have touched


@pytest.mark.parametrize('name', ['head_pose.fp16.plan', 'head_pose.fp16.json'])
def test_files_that_others_may_write_to_are_refused(machine, name):
    machine.open()
    (machine.cache / name).chmod(0o666)
    with pytest.raises(EngineUnavailable, match=f'{name} is not trusted: its mode is 0666.*0644'):
        machine.install('10.3.0').open()
    assert 'Runtime' not in machine.trt._state.made


@pytest.mark.parametrize('level', range(4))
def test_folders_that_others_may_write_to_are_refused(machine, level):
    machine.open()
    folder = [machine.cache, *machine.cache.parents][level]
    folder.chmod(0o777)
    with pytest.raises(EngineUnavailable, match=f'{folder} is not trusted: its mode is 0777'):
        machine.install('10.3.0').open()


def test_a_folder_of_engines_that_others_may_write_to_is_refused(machine, monkeypatch, tmp_path):
    (tmp_path / 'ahead').mkdir()
    (tmp_path / 'ahead').chmod(0o775)
    monkeypatch.setenv(PREBUILT, str(tmp_path / 'ahead'))
    with pytest.raises(EngineUnavailable, match='ahead is not trusted: its mode is 0775.*0755'):
        machine.open()


def test_files_of_another_user_are_refused(machine, monkeypatch):
    machine.open()
    real, me = os.fstat, os.geteuid()

    def foreign(descriptor):
        status = list(real(descriptor))
        status[4] = me + 1
        return os.stat_result(status)

    monkeypatch.setattr(os, 'fstat', foreign)
    with pytest.raises(EngineUnavailable, match=f'belongs to user id {me + 1}, expected {me} or 0'):
        machine.install('10.3.0').open()


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give files away')
def test_files_that_truly_belong_to_another_user_are_refused(machine):
    machine.open()
    os.chown(machine.cache / 'head_finder.fp16.plan', 12345, -1)
    with pytest.raises(EngineUnavailable, match='head_finder.fp16.plan is not trusted: it belongs '
                                                'to user id 12345, expected 0'):
        machine.install('10.3.0').open()


def test_links_are_not_followed(machine, tmp_path):
    machine.open()
    plan = machine.cache / 'head_pose.fp16.plan'
    plan.rename(tmp_path / 'elsewhere')
    plan.symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(EngineUnavailable, match='head_pose.fp16.plan is not trusted'):
        machine.install('10.3.0').open()
