# SPDX-License-Identifier: Apache-2.0
"""The training loop, on small networks: in one process, killed, and in two at once."""
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip('torch')

import fit_process

from training.train.fit import CHECKPOINT, FitSettings, add_gradient, fit, own_parts, precision

HERE = Path(__file__).resolve().parents[1] / 'support'
SCRIPT = HERE / 'fit_process.py'
ENVIRONMENT = os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(HERE.parents[1])}


def make_batch(generator):
    x = torch.randn(32, 4, generator=generator)
    return {'x': x, 'y': x @ torch.tensor([1., -2., 3., 0.5])[:, None]}


def loss(model, batch):
    return {'square': (model(batch['x']).float() - batch['y']).square().mean()}


def train(folder, steps, total=60):
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    settings = FitSettings(steps=total, learning_rate=0.1, warmup_steps=5, ema_decay=0.8,
                           loader_workers=0, report_every=20)
    calls = []

    def stop_early(net):
        calls.append(1)
        if len(calls) * 20 == steps and steps < total:
            raise KeyboardInterrupt
        return {}

    return fit(model, make_batch, loss, stop_early, settings, folder, torch.device('cpu'))


def saved(folder):
    return torch.load(folder / CHECKPOINT, weights_only=True)


def assert_same_state(one, other, **tolerances):
    for part in ('model', 'average'):
        for name, tensor in one[part].items():
            torch.testing.assert_close(tensor, other[part][name], **tolerances)
    assert one['state']['step'] == other['state']['step']


def curve(folder):
    """Return figures by step."""
    with open(folder / 'curve.csv', newline='') as file:
        return {int(row[0]): dict(figure.split('=') for figure in row[2:]) for row in csv.reader(file)}


def test_training_fits_a_linear_map(tmp_path):
    network = train(tmp_path, 200, total=200)
    torch.testing.assert_close(network.weight.detach(), torch.tensor([[1., -2., 3., 0.5]]), atol=0.1, rtol=0.1)


@pytest.mark.parametrize('device', ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason='no GPU'))])
def test_a_network_computes_in_the_reported_precision(device):
    device, computed = torch.device(device), []

    def observed(model, batch):
        output = model(batch['x'])
        computed.append(output.dtype)
        return {'square': output.float().square().mean()}

    add_gradient(torch.nn.Linear(4, 1).to(device), {'x': torch.ones(2, 4)}, observed, device, 1.)
    assert computed == [precision(device)]


def normalising():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Unflatten(1, (4, 1, 1)), torch.nn.BatchNorm2d(4), torch.nn.Flatten(),
                                  torch.nn.Linear(4, 1))
    network[1].running_mean[:], network[1].running_var[:] = 0.5, 4.
    return network


@pytest.mark.parametrize('keep', [False, True])
def test_a_network_that_is_trained_on_may_keep_its_statistics(tmp_path, keep):
    settings = FitSettings(steps=20, learning_rate=0.1, warmup_steps=5, loader_workers=0, keep_statistics=keep)
    ones, outputs = torch.ones(2, 4), []

    def watched_loss(model, batch):
        outputs.append(model(ones).detach())
        return loss(model, batch)

    network = fit(normalising(), make_batch, watched_loss, lambda net: {}, settings, tmp_path, torch.device('cpu'))
    as_in_use = torch.allclose(outputs[0].float(), normalising().eval()(ones), atol=0.02)  # bfloat16
    kept = network[1].running_mean.eq(0.5).all() and network[1].running_var.eq(4).all()
    assert as_in_use == keep == bool(kept)
    assert not torch.equal(network[1].weight, normalising()[1].weight)  # which still converges


def test_an_interrupted_run_resumes_and_ends_the_same(tmp_path, monkeypatch):
    straight = train(tmp_path / 'straight', 60)
    monkeypatch.setattr('training.train.fit.SAVE_EVERY_SECONDS', 0.)  # after each step
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'killed', 20)
    resumed = train(tmp_path / 'killed', 60)
    torch.testing.assert_close(resumed.weight, straight.weight)


def test_a_killed_process_leaves_what_another_one_ends_the_same(tmp_path):
    fit_process.train(tmp_path / 'straight')
    command = [sys.executable, str(SCRIPT), str(tmp_path / 'killed'), '--slowly']
    process = subprocess.Popen(command, env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while not (tmp_path / 'killed' / CHECKPOINT).exists() or saved(tmp_path / 'killed')['state']['step'] < 5:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert saved(tmp_path / 'killed')['state']['step'] < fit_process.STEPS
    fit_process.train(tmp_path / 'killed')
    assert_same_state(saved(tmp_path / 'straight'), saved(tmp_path / 'killed'), rtol=0, atol=0)


def test_two_processes_take_the_steps_of_one(tmp_path):
    fit_process.train(tmp_path / 'one')
    subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2',
                    '--master-addr', '127.0.0.1', '--master-port', '0', '--rdzv-backend', 'c10d',
                    '--rdzv-endpoint', '127.0.0.1:0', str(SCRIPT), str(tmp_path / 'two')],
                   env=ENVIRONMENT, check=True, timeout=240)
    one, two = curve(tmp_path / 'one'), curve(tmp_path / 'two')
    assert list(one) == list(two) and len(one) >= 4
    for step, figures in one.items():
        assert float(two[step]['square']) == pytest.approx(float(figures['square']), rel=1e-3)
        assert 0 <= float(two[step]['waiting']) <= 1
    learnt = [float(figures['square']) for figures in one.values()]
    assert learnt[-1] < 0.6 * learnt[0]
    # all but the running statistics, which one process gathers part by part
    one, two = saved(tmp_path / 'one'), saved(tmp_path / 'two')
    for name, tensor in one['model'].items():
        if 'running' not in name and 'tracked' not in name:
            torch.testing.assert_close(two['model'][name], tensor, rtol=1e-2, atol=1e-4)


def test_parts_that_processes_cannot_share_are_refused(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(ValueError, match='2 processes cannot share batches of 3 parts'):
        own_parts(0, FitSettings(parts=3))


def test_processes_share_all_parts_of_the_steps_that_are_left(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    drawn = []
    for rank in '01':
        monkeypatch.setenv('RANK', rank)
        drawn += own_parts(7, FitSettings(parts=4, steps=10))
    assert sorted(drawn) == list(range(28, 40)) and len(drawn) == 12


def test_slow_batches_show_in_the_curve(tmp_path):
    for name, seconds in (('slow', 0.02), ('fast', 0.)):
        fit_process.train(tmp_path / name, seconds)
    slow, fast = (float(curve(tmp_path / name)[fit_process.STEPS]['waiting']) for name in ('slow', 'fast'))
    assert slow > 0.3 and 0 <= fast <= 1
