# SPDX-License-Identifier: Apache-2.0
"""The depth renderer agrees with exact geometry."""
from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from training.synthesis.renderer import NEAR, render_depth
from training.synthesis.scene.solids import ellipsoid

WIDTH, HEIGHT = 96, 72
FX, FY, CX, CY = 80.0, 84.0, 45.3, 37.8


def render(triangles, **options):
    triangles = torch.as_tensor(np.asarray(triangles, np.float32))
    image_index = torch.zeros(len(triangles), dtype=torch.int32)
    intrinsics = [torch.tensor([value]) for value in (FX, FY, CX, CY)]
    result = render_depth(triangles, image_index, *intrinsics, HEIGHT, WIDTH, **options)
    if isinstance(result, tuple):
        return [image[0].numpy() for image in result]
    return result[0].numpy()


def rays():
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return np.stack([(u - CX) / FX, (v - CY) / FY, np.ones_like(u)], axis=-1)


def test_tilted_plane_has_its_analytic_depth_at_every_pixel():
    normal, offset = np.array([0.5, -0.3, 0.8]), 1.1  # normal . p = offset
    corners = [np.array([x, y, (offset - normal[0] * x - normal[1] * y) / normal[2]])
               for x, y in ((-0.8, -0.9), (0.9, -0.8), (-0.9, 0.7), (0.8, 0.9))]
    depth = render([[corners[0], corners[1], corners[2]], [corners[1], corners[3], corners[2]]])
    expected = offset / (rays() @ normal)
    seen = depth > 0
    assert seen.mean() > 0.5
    np.testing.assert_allclose(depth[seen], expected[seen], rtol=3e-6)


def test_sphere_matches_ray_casting_in_depth_and_outline():
    centre, radius = np.array([0.05, -0.02, 0.9]), 0.25
    depth = render(ellipsoid((radius,) * 3, 400, 200) + centre)
    directions = rays()
    a = (directions ** 2).sum(-1)
    half_b = directions @ centre
    discriminant = half_b ** 2 - a * (centre @ centre - radius ** 2)
    expected = (half_b - np.sqrt(np.maximum(discriminant, 0))) / a
    sag = radius * (1 - np.cos(np.pi / 200))  # how far a chord of the mesh lies inside the sphere
    inside = discriminant > 0.003
    assert np.all(depth[inside] > 0)
    assert np.all(depth[discriminant < 0] == 0)
    assert np.abs(depth - expected)[inside].max() < 20 * sag  # grazing rays magnify the sag
    assert np.abs(depth - expected)[discriminant > 0.3 * discriminant.max()].max() < 3 * sag


def test_shared_edges_leave_no_cracks():
    rng = np.random.default_rng(0)
    for cells in (7, 90, 300):  # triangles from much larger to much smaller than a pixel
        ticks = np.linspace(-0.85, 0.85, cells + 1)
        x, y = np.meshgrid(ticks, ticks)
        jitter = rng.uniform(-0.4, 0.4, (3, *x.shape)) * (ticks[1] - ticks[0])
        grid = np.stack([x + jitter[0], y + jitter[1], 1 + 0.2 * jitter[2]], -1)
        a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
        triangles = np.concatenate([np.stack([a, b, c], 2), np.stack([b, d, c], 2)])
        assert np.all(render(triangles.reshape(-1, 3, 3)) > 0)


def test_every_pixel_of_a_tiling_belongs_to_exactly_one_triangle():
    """Points on the pixel grid itself: the half-open rule must neither lose nor double a pixel."""
    corners = np.array([[10, 10], [40, 10], [40, 30], [10, 30], [25, 20]], float)
    points = np.stack([(corners[:, 0] - CX) / FX, (corners[:, 1] - CY) / FY, np.ones(5)], -1)
    covered = sum((render([[points[i], points[(i + 1) % 4], points[4]]]) > 0).astype(int)
                  for i in range(4))
    assert covered.max() == 1
    # corners that are meant to lie on pixel centres may round to either side: leave one pixel
    assert np.all(covered[11:29, 11:39] == 1)
    assert covered.sum() == covered[10:31, 10:41].sum()


def test_order_of_triangles_and_corners_does_not_matter():
    rng = np.random.default_rng(1)
    triangles = rng.normal(0, 0.25, (400, 3, 3)) + [0, 0, 1.2]
    shuffled = triangles[rng.permutation(400)][:, [2, 0, 1]]
    mirrored = triangles[:, ::-1]
    np.testing.assert_allclose(render(shuffled), render(triangles), rtol=1e-5)
    np.testing.assert_allclose(render(mirrored), render(triangles), rtol=1e-5)


def test_the_nearest_surface_wins_and_its_index_is_returned():
    square = np.array([[[-1, -1, 0], [1, -1, 0], [-1, 1, 0]], [[1, -1, 0], [1, 1, 0], [-1, 1, 0]]])
    triangles = np.concatenate([square + [0, 0, 2], 0.2 * square + [0, 0, 1], square + [0, 0, 3]])
    depth, index = render(triangles, return_index=True)
    assert depth[38, 45] == pytest.approx(1) and index[38, 45] in (2, 3)
    assert depth[10, 45] == pytest.approx(2) and index[10, 45] in (0, 1)
    assert np.all((index == -1) == (depth == 0))


def test_floor_that_runs_under_the_camera_is_cut_cleanly():
    height = 0.4
    floor = [[[-9, height, -5], [9, height, -5], [0, height, 30]]]
    depth = render(floor)
    expected = np.where(rays()[..., 1] > 0, height / np.maximum(rays()[..., 1], 1e-9), 0)
    inside = (depth > 0) & (expected > 0)
    assert inside[-20:, 20:70].all()
    np.testing.assert_allclose(depth[inside], expected[inside], rtol=2e-5)
    assert np.all(depth[:37] == 0)


def test_triangles_behind_the_camera_or_nearer_than_the_near_plane_are_not_drawn():
    triangle = np.array([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]])
    assert not render([triangle - [0, 0, 1]]).any()
    assert not render([triangle + [0, 0, 0.9 * NEAR]]).any()
    crossing = np.array([[-0.3, 0, 0.5], [0.3, 0, 0.5], [0, 0.2, -0.7]])
    depth, index = render([triangle - [0, 0, 1], crossing], return_index=True)
    assert depth.any() and depth[depth > 0].min() >= 0.999 * NEAR
    assert set(np.unique(index)) == {-1, 1}


def test_one_sided_triangles_disappear_from_behind():
    seen = np.array([[-0.1, -0.1, 1], [-0.1, 0.1, 1], [0.1, 0.1, 1]])  # counter-clockwise
    one_sided = torch.tensor([False])
    assert render([seen], two_sided=one_sided).any()
    assert not render([seen[::-1]], two_sided=one_sided).any()
    assert render([seen[::-1]], two_sided=~one_sided).any()


def test_batch_equals_single_images():
    rng = np.random.default_rng(2)
    triangles = (rng.normal(0, 0.2, (300, 3, 3)) + [0, 0, 1]).astype(np.float32)
    image_index = rng.integers(0, 3, 300)
    scale = torch.tensor([1.0, 1.3, 0.7])
    batch = render_depth(torch.tensor(triangles), torch.tensor(image_index),
                         FX * scale, FY * scale, CX * scale, CY * scale, 50, 60)
    for i in range(3):
        part = torch.tensor(triangles[image_index == i])
        alone = render_depth(part, torch.zeros(len(part), dtype=torch.int64),
                             *(value * scale[i:i + 1] for value in (FX, FY, CX, CY)), 50, 60)
        torch.testing.assert_close(batch[i], alone[0])


@pytest.mark.parametrize('count', [0, 1])
def test_nothing_to_draw_gives_empty_images(count):
    depth, index = render(np.full((count, 3, 3), -1.0), return_index=True)
    assert not depth.any() and np.all(index == -1)
