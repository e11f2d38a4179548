# SPDX-License-Identifier: Apache-2.0
"""TensorRT engines are built once, anew when stale, and trusted if nobody else made them."""
from __future__ import annotations

import json
import os

import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from tensorrt_machine import Machine

from depthface_ros.engines import MODELS_FOLDER, EngineUnavailable, open_engine
from depthface_ros.engines.contract import NETWORKS


@pytest.fixture
def machine(monkeypatch, tmp_path):
    return Machine(monkeypatch, tmp_path)


def test_engines_are_built_once_and_then_loaded(machine):
    machine.open()
    assert machine.builds == len(NETWORKS) and any('there is none yet' in text for text in machine.reports)
    assert sorted(file.name for file in machine.cache.glob('*.plan')) == [
        f'{network}.fp16.plan' for network in sorted(NETWORKS)]
    machine.install('10.3.0').open()
    assert machine.builds == 0 and not machine.reports


def test_files_and_folders_are_for_their_user_only(machine):
    machine.open()
    for path in (machine.cache, *machine.cache.parents[:2]):
        assert path.stat().st_mode & 0o777 == 0o700
    files = list(machine.cache.iterdir())
    assert len(files) == 2 * len(NETWORKS) + 1 and all(file.stat().st_mode & 0o777 == 0o600 for file in files)


def test_the_card_tells_what_an_engine_is(machine):
    machine.open()
    card = json.loads((machine.cache / 'head_pose.fp16.json').read_text())
    assert card['tensorrt'] == '10.3.0' and card['gpu'] == 'Fake Orin'
    assert card['compute_capability'] == '8.7' and card['precision'] == 'fp16'
    model = json.loads((MODELS_FOLDER / 'head_pose.json').read_text())
    assert card['onnx_sha256'] == model['sha256']
    assert card['shapes'] == [[1, 4, 96, 96], [8, 4, 96, 96]]


def stale_card(machine, **changes):
    file = machine.cache / 'head_pose.fp16.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def other_bytes(machine):
    with (machine.cache / 'head_pose.fp16.plan').open('ab') as file:
        file.write(b'!')


@pytest.mark.parametrize('spoil, reason', [
    (lambda m: stale_card(m, onnx_sha256='0' * 64), 'onnx_sha256 was 000000000000... and is'),
    (lambda m: stale_card(m, tensorrt='10.2.0'), 'tensorrt was 10.2.0 and is 10.3.0 now'),
    (lambda m: stale_card(m, compute_capability='8.6'), 'compute_capability was 8.6 and is 8.7'),
    (lambda m: stale_card(m, outputs={}), 'outputs was {} and is'),
    (lambda m: stale_card(m, schema=0), 'schema was 0'),
    (other_bytes, 'the file is not the one that was built (sha256 differs)'),
    (lambda m: (m.cache / 'head_pose.fp16.json').write_text('{'),
     'its card head_pose.fp16.json is broken'),
    (lambda m: (m.cache / 'head_pose.fp16.json').unlink(), 'there is none yet'),
])
def test_a_stale_engine_is_built_anew_and_says_why(machine, spoil, reason):
    machine.open()
    spoil(machine)
    machine.install('10.3.0').open()
    assert machine.builds == 1
    assert machine.reports[0].startswith(f'building the engine of head_pose: {reason}')
    machine.install('10.3.0').open()
    assert machine.builds == 0


def test_another_tensorrt_builds_all_anew_and_measures_anew(machine):
    machine.open()
    machine.install('10.16.1').open()
    assert machine.builds == len(NETWORKS)
    assert any('tensorrt was 10.3.0 and is 10.16.1.11 now' in text for text in machine.reports)
    assert any('timings of earlier builds are of another' in text for text in machine.reports)
    assert (machine.cache / 'timings.bin').read_bytes() == b'timings of 10.16.1'


def test_a_broken_timing_cache_costs_time_only(machine):
    machine.open()
    (machine.cache / 'timings.bin').write_bytes(b'broken')
    (machine.cache / 'head_pose.fp16.plan').unlink()
    machine.install('10.3.0').open()
    assert machine.builds == 1 and (machine.cache / 'timings.bin').read_bytes() != b'broken'


def test_without_leave_to_build_it_says_what_to_do(machine):
    with pytest.raises(EngineUnavailable, match='head_finder must be built: there is none yet; '
                                                '`depthface build-engines`'):
        machine.open(build=False)
    assert machine.builds == 0


def test_auto_never_builds_and_takes_the_next_best(machine):
    engine, skipped = open_engine('auto')
    assert engine.name == 'cpu' and machine.builds == 0
    assert 'depthface build-engines' in dict(skipped)['tensorrt']
    machine.open()
    engine, skipped = open_engine('auto')
    assert engine.name == 'tensorrt' and not skipped


# ---- what another user may have touched


@pytest.mark.parametrize('name', ['head_pose.fp16.plan', 'head_pose.fp16.json', 'timings.bin'])
def test_files_that_others_may_write_to_are_refused(machine, name):
    machine.open()
    (machine.cache / name).chmod(0o666)
    if name == 'timings.bin':
        (machine.cache / 'head_pose.fp16.plan').unlink()
    with pytest.raises(EngineUnavailable, match=f'{name} is not trusted: its mode is 0666.*0600'):
        machine.install('10.3.0').open()
    assert 'Runtime' not in machine.trt._state.made


@pytest.mark.parametrize('level', range(4))
def test_folders_that_others_may_write_to_are_refused(machine, level):
    machine.open()
    folder = [machine.cache, *machine.cache.parents][level]
    folder.chmod(0o777)
    with pytest.raises(EngineUnavailable, match=f'{folder} is not trusted: its mode is 0777'):
        machine.install('10.3.0').open()


def test_files_of_another_user_are_refused(machine, monkeypatch):
    machine.open()
    real, me = os.fstat, os.geteuid()

    def foreign(descriptor):
        status = list(real(descriptor))
        status[4] = me + 1
        return os.stat_result(status)

    monkeypatch.setattr(os, 'fstat', foreign)
    with pytest.raises(EngineUnavailable, match=f'belongs to user id {me + 1}, expected {me}'):
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
