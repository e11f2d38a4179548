# SPDX-License-Identifier: Apache-2.0
"""Simulated sensors: their statistics agree with published formulas."""
from __future__ import annotations

import math

import numpy as np
import pytest

cv2 = pytest.importorskip('cv2')
torch = pytest.importorskip('torch')

from training.synthesis import sensors as sensors_module
from training.synthesis.scene.cameras import (
    FAMILIES,
    VALIDATION_CAMERAS,
    is_reserved,
    sample_camera,
    sample_sensor,
)
from training.synthesis.sensors import (
    Sensor,
    SensorBatch,
    incidence_angle,
    simulate,
    surface_slopes,
)

FOCAL = 575.0


def measure(depth, sensor, focal=FOCAL, scale=1.0, **options):
    """Simulate (H, W) or (B, H, W) depth with one sensor."""
    depth = torch.as_tensor(np.asarray(depth, np.float32))
    depth = depth.reshape(-1, *depth.shape[-2:])
    count = len(depth)
    generator = torch.Generator().manual_seed(0)
    return simulate(depth, SensorBatch.stack([sensor] * count), torch.full((count,), focal),
                    torch.full((count,), scale), generator, **options).numpy()


def wall(z, size=128):
    return np.full((size, size), z)


def tilted_wall(angle, size=128):
    """Return a plane 1 m ahead, turned by `angle` about the vertical, in an image of focal length 575."""
    x = (np.arange(size) - (size - 1) / 2) / FOCAL
    return np.broadcast_to(1 / (1 - x * math.tan(angle)), (size, size)).copy()


@pytest.mark.parametrize('z', [0.5, 1.0, 2.0])
def test_range_noise_follows_the_formula_of_each_family(z):
    fine = {'depth_unit': 1e-6, 'max_range': 7.0}
    nguyen = Sensor(noise_base=0.0012, noise_quadratic=0.0019, noise_knee=0.4, **fine)
    stereo = Sensor(disparity_noise=0.08, baseline=0.05, **fine)
    flight = Sensor(noise_base=0.0005, noise_linear=0.001, noise_knee=0.5, **fine)
    # Nguyen et al.; Intel's best known methods, in mm; Toelgyessy et al.
    expected = (0.0012 + 0.0019 * (z - 0.4) ** 2,
                (1000 * z) ** 2 * 0.08 / (FOCAL * 50) / 1000,
                0.0005 + max(0.001 * (z - 0.5), 0))
    for sensor, sigma in zip((nguyen, stereo, flight), expected):
        error = measure([wall(z)] * 8, sensor) - z
        assert error.std() == pytest.approx(sigma, rel=0.02)
        assert abs(error.mean()) < 0.02 * sigma


def test_correlated_noise_keeps_its_strength_and_is_alike_among_neighbours():
    for length, least, most in ((1.0, -0.02, 0.02), (3.5, 0.7, 0.9)):
        sensor = Sensor(noise_base=0.002, correlation=length, depth_unit=1e-6)
        error = measure([wall(1.0)] * 8, sensor) - 1
        assert error.std() == pytest.approx(0.002, rel=0.03)
        neighbours = np.corrcoef(error[:, :, :-1].ravel(), error[:, :, 1:].ravel())[0, 1]
        assert least < neighbours < most


@pytest.mark.parametrize('step', [1 / 8, 1 / 32])
def test_disparity_is_quantised_at_the_native_focal_length(step):
    """The step at 1 m is z^2 step / (f b), at any resolution of the rendering."""
    sensor = Sensor(baseline=0.075, disparity_step=step, depth_unit=1e-6)
    ramp = np.linspace(0.98, 1.02, 128)[None].repeat(128, 0)
    for scale in (1.0, 2.0):
        levels = np.unique(measure(ramp, sensor, scale=scale))
        levels = levels[levels > 0]
        assert np.diff(levels).mean() == pytest.approx(step / (FOCAL * 0.075), rel=0.06)


def test_output_comes_in_whole_millimetres():
    rng = np.random.default_rng(0)
    out = measure(wall(1.0), sample_sensor(rng, 'time_of_flight'))
    np.testing.assert_allclose(out * 1000, np.round(out * 1000), atol=1e-3)


def test_steep_surfaces_vanish_beyond_the_limit():
    sensor = Sensor(incidence_limit=math.radians(78))
    for degrees, least, most in ((60, 0, 0.001), (78, 0.4, 0.6), (84, 0.97, 1)):
        lost = measure(tilted_wall(math.radians(degrees), 17), sensor)[:, 4:-4, 4:-4] == 0
        assert least <= lost.mean() <= most


def test_noise_grows_on_steep_surfaces_as_measured_by_nguyen():
    sensor = Sensor(noise_base=0.0019, noise_incidence=1e-4, depth_unit=1e-6, incidence_limit=1.57)
    clean = tilted_wall(math.radians(75), 33)
    error = (measure([clean] * 100, sensor) - clean)[:, :, 14:19]
    # 0.0001 (75 / 15)^2 = 2.5 mm more at 1 m
    assert error.std() == pytest.approx(0.0019 + 0.0025, rel=0.05)


def test_incidence_is_measured_against_the_ray_not_the_image():
    """A wall seen 45 degrees off the axis is steep only when it does not face the camera."""
    focal, centre = torch.tensor([[[100.0]]]), torch.tensor([[-84.0, 15.5]])
    flat = torch.full((1, 32, 32), 1.0)
    flat = incidence_angle(flat, surface_slopes(flat), focal, centre)
    assert torch.rad2deg(flat[0, 16, 16]).item() == pytest.approx(45, abs=0.5)
    facing = 1.0 / (1 + (torch.arange(32) + 84) / 100)  # normal (1, 0, 1)
    facing = facing.expand(1, 32, 32)
    facing = incidence_angle(facing, surface_slopes(facing), focal, centre)
    assert torch.rad2deg(facing[0, 16, 16]).item() < 2


def test_holes_cover_their_share():
    sensor = Sensor(hole=0.1)
    assert (measure([wall(1.0)] * 64, sensor) == 0).mean() == pytest.approx(0.1, abs=0.02)
    hair = torch.zeros(64, 128, 128, dtype=torch.bool)
    hair[:, :64] = True
    lost = measure([wall(1.0)] * 64, Sensor(hair_hole=0.3), hair=hair) == 0
    assert lost[:, :64].mean() == pytest.approx(0.3, abs=0.03)
    assert not lost[:, 64:].any()


def test_a_perfect_sensor_changes_nothing():
    clean = wall(1.0)
    clean[20:60, 30:90] = 0.8
    clean[:10] = 0
    np.testing.assert_allclose(measure(clean, Sensor())[0], clean, atol=1e-6)


@pytest.mark.parametrize('family', FAMILIES)
def test_nothing_stays_nothing(family):
    rng = np.random.default_rng(0)
    assert not measure(np.zeros((64, 64)), sample_sensor(rng, family)).any()


def test_shadow_lies_beside_the_foreground_and_is_as_wide_as_the_disparities_differ():
    clean = wall(2.0)
    clean[:, 60:90] = 1.0
    width = FOCAL * 0.075 * (1 / 1.0 - 1 / 2.0)
    for side in (1, -1):
        lost = measure(clean, Sensor(baseline=0.075 * side))[0] == 0
        assert lost.sum(1) == pytest.approx(np.full(128, width), abs=1.5)
        assert lost[:, 40:60].any() if side == 1 else lost[:, 90:110].any()
        assert not lost[:, 60:90].any()


def test_only_time_of_flight_mixes_depths_on_edges():
    clean = wall(2.0)
    clean[:, 60:] = 1.0
    between = [((out > 1.1) & (out < 1.9)).mean() for out in (
        measure(clean, Sensor(lateral=0.5, flying=flying)) for flying in (0.0, 1.0))]
    assert between[0] == 0 and between[1] > 0.002


def test_lateral_effects_shrink_when_the_rendering_is_coarser_than_the_sensor():
    clean = wall(2.0)
    clean[:, 60:] = 1.0
    sensor = Sensor(fattening=1.0)
    grown = [(measure([clean] * 16, sensor, scale=scale) < 1.5).mean() * 128 - 68
             for scale in (1.0, 2.0)]
    assert grown[0] == pytest.approx(1, abs=0.05)
    assert grown[1] == pytest.approx(0.5, abs=0.15)


def ball(distance, focal, radius=0.1, background=2.0, shape=(240, 320)):
    """Return depth (H, W) m of a ball as large as a head before a wall."""
    v, u = np.indices(shape)
    a = (((u - (shape[1] - 1) / 2) ** 2 + (v - (shape[0] - 1) / 2) ** 2) / focal ** 2 + 1)
    root = distance ** 2 - a * (distance ** 2 - radius ** 2)
    return np.where(root > 0, (distance - np.sqrt(root.clip(0))) / a, background)


def block_matched(depth, focal, baseline, window):
    """Return depth (H, W) m as OpenCV's block matcher finds it if a random pattern is on the surface."""
    rng = np.random.default_rng(0)
    right, unseen = (cv2.GaussianBlur(rng.normal(128, 150, depth.shape).astype(np.float32), (0, 0), 1)
                     for _ in range(2))
    v, u = np.indices(depth.shape, np.float32)
    u_right = (u - focal * baseline / depth).astype(np.float32)
    lowest_after = np.minimum.accumulate(u_right[:, ::-1], axis=1)[:, ::-1]
    covered = np.pad(u_right[:, :-1] >= lowest_after[:, 1:], ((0, 0), (0, 1)))
    left = np.where(covered, unseen, cv2.remap(right, u_right, v, cv2.INTER_CUBIC))
    matcher = cv2.StereoBM_create(64, window)
    matcher.setTextureThreshold(0)
    matcher.setUniquenessRatio(5)
    disparity = matcher.compute(*(image.clip(0, 255).astype(np.uint8) for image in (left, right)))
    return focal * baseline * 16 / np.where(disparity > 0, disparity, np.inf)


@pytest.mark.parametrize('distance, focal, baseline', [
    (0.6, 425, 0.05), (0.8, 425, 0.05), (1.0, 425, 0.095), (1.0, 610, 0.055)])
def test_foreground_grows_over_its_edges_and_not_on_slopes_as_by_block_matching(
        distance, focal, baseline):
    clean = ball(distance, focal)
    slope = np.hypot(*np.gradient(clean))  # metres a pixel
    is_ball = clean < 1.9
    steep = cv2.erode(is_ball.astype(np.uint8), np.ones((9, 9))) * slope * focal / clean > 0.7
    sensor = Sensor(fattening=1.5, incidence_limit=2.0, depth_unit=1e-6)
    for seen, least, most in ((block_matched(clean, focal, baseline, window=9)[None], 1.4, 4.0),
                              (measure([clean] * 16, sensor, focal), 1.5, 1.5 * math.sqrt(2))):
        near = steep & (np.abs(seen - clean) < 0.1)
        assert near.mean() > 0.95 * steep.mean()
        pixels_outwards = (clean - seen)[near] / np.broadcast_to(slope, seen.shape)[near]
        assert abs(np.median(pixels_outwards)) < 0.25
        grown = (seen > 0) & (seen < (distance + 2) / 2)
        radius, before = (math.sqrt(share * clean.size / math.pi)
                          for share in (grown.mean(), is_ball.mean()))
        assert least < radius - before < most


def test_range_limits_offset_and_bias():
    sensor = Sensor(min_range=0.4, max_range=3.0)
    assert [bool(measure(wall(z), sensor).any()) for z in (0.3, 0.5, 2.9, 3.1)] == [
        False, True, True, False]
    assert measure(wall(1.0), Sensor(offset=0.004)).mean() == pytest.approx(1.004)
    error = measure([wall(2.0)] * 200, Sensor(bias=0.001, depth_unit=1e-6)) - 2
    assert error.std() == pytest.approx(0.002, rel=0.1)
    assert np.abs(np.diff(error, axis=2)).max() < 3e-4  # it varies slowly


def test_a_batch_mixes_families_and_gives_each_image_its_own():
    sensors = [Sensor(offset=0.1), Sensor(noise_base=0.01), Sensor(max_range=0.5)]
    out = simulate(torch.ones(3, 32, 32), SensorBatch.stack(sensors), torch.full((3,), FOCAL),
                   torch.ones(3))
    assert out[0].unique().tolist() == pytest.approx([1.1])
    assert out[1].std() > 0.005 and not out[2].any()


@pytest.mark.parametrize('family', FAMILIES)
def test_the_simulation_is_one_graph_with_equal_results(family, monkeypatch):
    """Traced, not compiled, which takes half a minute; a part that could not be traced would raise."""
    rng = np.random.default_rng(1)
    sensors = [sample_sensor(rng, family) for _ in range(3)]
    depth = torch.where(torch.arange(48) < 20, 0.9, torch.tensor(tilted_wall(0.6, 48), dtype=torch.float32))

    def measured(**options):
        return simulate(depth.expand(3, 48, 48), SensorBatch.stack(sensors), torch.full((3,), FOCAL), torch.ones(3),
                        torch.Generator().manual_seed(0), **options)

    for options in ({}, {'hair': depth.expand(3, 48, 48) < 1, 'centre': torch.full((3, 2), 20.)}):
        expected = measured(**options)
        with monkeypatch.context() as patch:
            patch.setattr(sensors_module, '_measured', sensors_module._measured)
            sensors_module.fuse(fullgraph=True, backend='eager')
            assert torch.equal(measured(**options), expected) and expected.std() > 0.01


def test_training_cameras_keep_away_from_those_of_the_validation():
    rng = np.random.default_rng(0)
    cameras = [sample_camera(rng) for _ in range(3000)]
    assert {camera.family for camera in cameras} == set(FAMILIES)
    for camera in cameras:
        for real in VALIDATION_CAMERAS:
            ratio = (camera.fx / camera.width) / (real.fx / real.width)
            assert camera.family != real.family or abs(ratio - 1) >= 0.02
            assert camera.sensor != real.sensor
    assert is_reserved('structured_light', 575.8 / 640)
    assert not is_reserved('time_of_flight', 575.8 / 640)
    assert {sample_camera(rng, 'validation').name for _ in range(200)} == {
        camera.name for camera in VALIDATION_CAMERAS}
    with pytest.raises(ValueError, match='split'):
        sample_camera(rng, 'test')


def test_edges_lose_pixels_and_steep_walls_do_not():
    sensor = Sensor(edge_drop=1.0, edge_jump=0.04, incidence_limit=1.57)
    steep = 5 * tilted_wall(math.radians(75), 33)  # 5 m away
    assert np.diff(steep[0]).max() > 0.03  # over three pixels more than the jump of an edge
    assert (measure(steep, sensor) > 0).all()
    step = wall(2.0)
    step[:, 60:] = 1.0
    lost = measure(step, sensor)[0] == 0
    assert lost[:, 59:61].all() and not lost[:, :58].any() and not lost[:, 62:].any()


def test_some_structured_light_returns_almost_nothing_from_hair():
    rng = np.random.default_rng(0)
    fractions = [sample_sensor(rng, 'structured_light').hair_hole for _ in range(200)]
    assert 0.1 < np.mean(np.array(fractions) >= 0.8) < 0.3 and min(fractions) == 0
    sensor = sample_sensor(rng, 'structured_light')._replace(hair_hole=0.95, hole=0, speckle=0)
    hair = np.zeros((64, 64), bool)
    hair[:32] = True
    out = simulate(torch.full((1, 64, 64), 0.8), SensorBatch.stack([sensor]), torch.tensor([500.]),
                   torch.ones(1), torch.Generator().manual_seed(0), hair=torch.from_numpy(hair)[None])[0]
    assert (out[:30] > 0).float().mean() < 0.2 and (out[34:] > 0).float().mean() > 0.8
