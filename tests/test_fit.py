# SPDX-License-Identifier: Apache-2.0
"""The training loop, on a network of one layer."""
import pytest

torch = pytest.importorskip('torch')

from training.fit import FitSettings, fit  # noqa: E402


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


def test_a_linear_map_is_learnt(tmp_path):
    network = train(tmp_path, 200, total=200)
    torch.testing.assert_close(network.weight.detach(), torch.tensor([[1., -2., 3., 0.5]]), atol=0.1, rtol=0.1)


def test_a_killed_run_resumes_and_ends_the_same(tmp_path, monkeypatch):
    straight = train(tmp_path / 'straight', 60)
    monkeypatch.setattr('training.fit.SAVE_EVERY_SECONDS', 0.)  # after each step
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'killed', 20)
    resumed = train(tmp_path / 'killed', 60)
    torch.testing.assert_close(resumed.weight, straight.weight)
