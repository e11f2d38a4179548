# SPDX-License-Identifier: Apache-2.0
"""The classifier of real and rendered crops finds a difference, its cue and its place."""
from __future__ import annotations

import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('rosbags')

from training.evaluation.domain_classifier import CUES, separate
from training.evaluation.real_and_synthetic import evidence_picture, regions

COUNT = 24


def crops(seed, missing=0.0):
    """Noisy bulges; in the upper left corner, a fraction of pixels without a point."""
    generator = torch.Generator().manual_seed(seed)
    v, u = torch.meshgrid(*[torch.linspace(-1, 1, 96)] * 2, indexing='ij')
    points = torch.stack([0.3 - u * u - v * v, -u, -v]).expand(COUNT, 3, 96, 96)
    points = points + 0.01 * torch.randn(COUNT, 3, 96, 96, generator=generator)
    lost = torch.rand(COUNT, 96, 96, generator=generator) < 0.02
    lost[:, :24, :24] |= torch.rand(COUNT, 24, 24, generator=generator) < missing
    valid = (~lost)[:, None].float()
    return torch.cat([points * valid, valid], 1)


def test_missing_points_are_found_where_they_are_missing():
    real, rendered = crops(0), crops(1, missing=0.5)
    evidence = separate(real, rendered, CUES['where points are missing'])
    assert min(evidence.accuracy) > 0.9
    corners = evidence.attribution[:24, :24].sum() + evidence.attribution[:24, -24:].sum()  # half are mirrored
    assert evidence.attribution.sum() == pytest.approx(1, abs=1e-4) and corners > 0.5
    found = regions(evidence.attribution, *(part[:, 3].mean(0).numpy() for part in (real, rendered)))
    measured, rendered_measured = found['above the forehead'][1:]
    assert measured > rendered_measured + 3 and found['eyes'][1] == pytest.approx(found['eyes'][2], abs=1)
    picture = evidence_picture([part[:, 3].mean(0).numpy() for part in (real, rendered)],
                               {name: evidence for name in CUES})
    assert picture.shape[2] == 3 and picture.max() > 200


def test_crops_of_one_distribution_are_not_told_apart():
    evidence = separate(crops(0), crops(1), CUES['shape of the inner face'])
    assert sum(evidence.accuracy) / len(evidence.accuracy) < 0.75


def test_too_few_crops_are_refused():
    with pytest.raises(ValueError, match='2 real and 24 rendered crops: expected at least 3'):
        separate(crops(0)[:2], crops(1), CUES['whole crop'])
