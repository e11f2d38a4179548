# SPDX-License-Identifier: Apache-2.0
"""Augmented batches: labels match the depth after mirroring, rolling, cropping and changes of pose."""
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from scipy.spatial import cKDTree

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.crop import (
    FACE_FROM_HEAD,
    HEAD_CENTRE_FACE,
    POSE_CROP_SIZE,
    SHAPE_CROP_SIZE,
)
from training.data import predicted_crops
from training.data.augment import observe, pose_batch, rigid, rigid_inverse, shape_batch, transform
from training.data.rendered_dataset import DEPTH_STEP, FaceWindows
from training.synthesis import sensors
from training.synthesis.renderer import render_depth
from training.synthesis.scene.random_scene import facing_pose
from training.synthesis.sensors import Sensor
from training.train.detector import rolled, targets

MODEL = FaceModel.load()
FOCAL, SIZE, DISTANCE = 280.0, 160, 0.8
NOISELESS = Sensor(depth_unit=1e-4, edge_jump=1.0)
GAP = 0.003  # m; the points below lie up to 5 mm apart
CORNERS = np.array([[i, j, 6 - i - j] for i in range(7) for j in range(7 - i)]) / 6  # of a triangle


@pytest.fixture(scope='module')
def windows():
    """Return one asymmetric face, from its left, measured without noise."""
    rng = np.random.default_rng(0)
    offsets = np.zeros_like(MODEL.template)
    left = MODEL.template[:, 1] > 0.02
    offsets[left] += [0.004, 0.006, 0.0]  # a fat left cheek
    pose = facing_pose(np.array([0.0, 0.0, DISTANCE]), *np.radians([25, 10, 15]))
    vertices = (MODEL.template + offsets) @ pose[:3, :3].T + pose[:3, 3]
    triangles = torch.tensor(vertices[MODEL.triangles], dtype=torch.float32)
    middle = (SIZE - 1) / 2 + 4  # off the middle: mirroring must move the principal point
    depth = render_depth(triangles, torch.zeros(len(triangles), dtype=torch.int64), *torch.tensor(
        [[FOCAL], [FOCAL], [middle], [middle]]), SIZE, SIZE)
    expression = rng.uniform(size=(1, 52))
    one = torch.ones(1)
    return FaceWindows(
        depth_steps=torch.from_numpy((depth / DEPTH_STEP).round().numpy().astype(np.uint16)),
        hair_mask=torch.zeros(1, SIZE, SIZE, dtype=torch.bool),
        intrinsics=torch.tensor([[FOCAL, FOCAL, middle, middle]]), fx_native=one * FOCAL, pixel_scale=one,
        family=torch.zeros(1, dtype=torch.int8), sensor=torch.tensor([tuple(NOISELESS)]),
        camera_from_face=torch.tensor(pose[None], dtype=torch.float32),
        offsets=torch.tensor(offsets[None]).half(), expression=torch.tensor(expression).half(),
        is_face=torch.ones(1, dtype=torch.bool))


def seen_both_ways(windows):
    """Return the window and its mirror image."""
    index = torch.zeros(24, dtype=torch.int64)
    seen = observe(windows, index, torch.Generator().manual_seed(0), other_sensors=False)
    mirrored = (seen.offsets - seen.offsets[:1]).abs().amax((1, 2)) > 1e-4
    assert 4 < int(mirrored.sum()) < 20
    return seen, mirrored


def gaps(points, vertices):
    """Return distances (N,) of points from the surface of the face mesh."""
    surface = np.einsum('kc,tcx->tkx', CORNERS, vertices[MODEL.triangles]).reshape(-1, 3)
    return cKDTree(surface).query(points)[0]


def test_pose_crops_show_the_labelled_face_mirrored_or_not(windows):
    seen, _ = seen_both_ways(windows)
    batch = pose_batch(seen, torch.Generator().manual_seed(1))
    for i in range(len(seen.is_face)):
        crop = batch['crop'][i].numpy()
        points = crop[:3, crop[3] > 0].T * POSE_CROP_SIZE / 2
        label = (MODEL.template + seen.offsets[i].numpy()) @ batch['rotation'][i].numpy().T
        label = label + batch['sellion'][i].numpy() * POSE_CROP_SIZE / 2
        assert len(points) > 500
        assert np.percentile(gaps(points, label), 95) < GAP
        assert np.linalg.det(batch['rotation'][i].numpy()) == pytest.approx(1, abs=1e-4)


def test_mirroring_swaps_sides_of_shape_and_expression(windows):
    seen, mirrored = seen_both_ways(windows)
    first, other = seen.offsets[~mirrored][0], seen.offsets[mirrored][0]
    left = torch.tensor(MODEL.template[:, 1] > 0.03)
    right = torch.tensor(MODEL.template[:, 1] < -0.03)
    fat, thin = (first, other) if first[left].abs().sum() > first[right].abs().sum() else (other, first)
    assert fat[left].norm(dim=1).min() > 0.007 and fat[right].abs().max() < 1e-6
    assert thin[right].norm(dim=1).min() > 0.007 and thin[left].abs().max() < 1e-6
    names = list(MODEL.expression_names)
    a, b = (names.index(f'mouthSmile{side}') for side in ('Left', 'Right'))
    plain, turned = seen.expression[~mirrored][0], seen.expression[mirrored][0]
    assert plain[a] == turned[b] and plain[b] == turned[a] and plain[a] != plain[b]


def test_shape_crops_are_in_the_frame_of_the_wrong_pose_that_the_residual_mends(windows):
    seen, _ = seen_both_ways(windows)
    batch = shape_batch(seen, torch.Generator().manual_seed(2), rotation_rad=0.1, translation_m=0.01)
    assert batch['residual'][:, :3].norm(dim=1).max() > 0.1
    for i in range(len(seen.is_face)):
        crop = batch['crop'][i].numpy()
        points = crop[:3, crop[3] > 0].T * SHAPE_CROP_SIZE / 2
        face = torch.tensor(MODEL.template) + batch['offsets'][i]
        label = transform(rigid(batch['residual'][i:i + 1]), face[None])[0]
        assert np.percentile(gaps(points, label.numpy()), 95) < GAP


class Mistaken(torch.nn.Module):
    """Predicts the true pose of every crop with a rotation and shift in the face frame."""

    def __init__(self, pose_from_truth):
        super().__init__()
        self.pose_from_truth, self.truth = pose_from_truth, None

    def forward(self, crop):
        told = self.truth @ rigid_inverse(self.pose_from_truth)
        half = POSE_CROP_SIZE / 2
        six = (told[:, :3, :3] @ torch.tensor(FACE_FROM_HEAD))[:, :, :2].mT.reshape(-1, 6)
        return six, told[:, :3, 3] / half, torch.zeros(len(crop), 2), torch.zeros(len(crop), 1)


@pytest.mark.parametrize('turn, is_kept', [(0.15, True), (0.8, False)])
def test_shape_crops_are_taken_where_a_pose_network_errs(windows, monkeypatch, turn, is_kept):
    seen, _ = seen_both_ways(windows)
    mistake = torch.tensor([[turn, 0, 0, 0.004, -0.003, 0.01]]).expand(len(seen.is_face), 6)
    network = Mistaken(rigid(mistake))

    def remembered(*arguments, **options):
        batch = pose_batch(*arguments, **options)
        origin = batch['sellion'] * POSE_CROP_SIZE / 2
        network.truth = rigid(torch.cat([torch.zeros_like(origin), origin], dim=1))
        network.truth[:, :3, :3] = batch['rotation']
        return batch

    monkeypatch.setattr(predicted_crops, 'pose_batch', remembered)
    batch = predicted_crops.predicted_shape_batch(seen, torch.Generator().manual_seed(4), network)
    if is_kept:
        left = batch['residual'].norm(dim=1, keepdim=True) / mistake.norm(dim=1, keepdim=True)
        torch.testing.assert_close(batch['residual'], left * mistake, atol=1e-4, rtol=0)
        whole = (left - 1).abs() < 1e-3  # the others are as in a second pass
        assert whole.any() and (whole | (left < 0.61)).all() and not whole.all()
    else:  # no pipeline continues from there, so random errors replace it
        assert batch['residual'][:, :3].norm(dim=1).median() < 0.4
    crop = batch['crop'][0].numpy()
    points = crop[:3, crop[3] > 0].T * SHAPE_CROP_SIZE / 2
    face = torch.tensor(MODEL.template) + batch['offsets'][0]
    label = transform(rigid(batch['residual'][:1]), face[None])[0]
    assert np.percentile(gaps(points, label.numpy()), 95) < GAP


def test_rigid_motions_invert():
    twist = torch.randn(5, 6, generator=torch.Generator().manual_seed(3))
    motion = rigid(twist)
    torch.testing.assert_close(rigid_inverse(motion) @ motion, torch.eye(4).expand(5, 4, 4), atol=1e-5, rtol=0)


def test_detector_targets_point_from_the_visible_surface_to_the_head_centre():
    """A fronto-parallel plane with a head's centre 8 cm behind it."""
    focal, depth = 144.0, 1.0
    v, u = torch.meshgrid(torch.arange(120.), torch.arange(160.), indexing='ij')
    points = torch.stack([(u - 79.5) / focal * depth, (v - 59.5) / focal * depth, torch.full_like(u, depth),
                          torch.ones_like(u)])[None]
    centre = torch.tensor([[[0.2, -0.1, 1.08], [torch.nan] * 3]])
    answer = targets(points, centre, torch.tensor([[1.0, 0.0]]), torch.tensor([focal]))
    row, column = divmod(int(answer['heatmap'][0].argmax()), 40)
    assert abs(4 * column + 1.5 - (79.5 + 0.2 / 1.08 * focal)) <= 4
    assert abs(4 * row + 1.5 - (59.5 - 0.1 / 1.08 * focal)) <= 4
    near = answer['offset_weight'][0] > 0
    reached = (answer['reference'] + answer['offset'])[0][:, near]
    torch.testing.assert_close(reached, centre[0, 0][:, None].expand_as(reached), atol=1e-5, rtol=0)
    assert np.array(HEAD_CENTRE_FACE)[0] < 0  # the centre lies behind the face's surface


@pytest.mark.parametrize('quarters', [1, 2, 3])
def test_rolled_frames_equal_images_of_a_rolled_camera(quarters):
    """A slanted plane, as wide as the input; two heads, one of them near an end of its long side."""
    focal = 144.0
    v, u = torch.meshgrid(torch.arange(120.), torch.arange(224.), indexing='ij')
    x, y = (u - 111.5) / focal, (v - 59.5) / focal
    z = 1 / (1 + 0.2 * x - 0.1 * y)
    points = torch.stack([x * z, y * z, z, torch.ones_like(z)])[None]
    centres = torch.tensor([[[0.02, -0.3, 1.1], [0.75, 0.05, 1.0], [torch.nan] * 3]])
    frame, turned, visible = rolled(points, centres, torch.tensor([[1.0, 0.9, 0.0]]), quarters,
                                    torch.Generator().manual_seed(0))
    filled = frame[0, 3] > 0
    assert frame.shape == points.shape and filled.sum() == (120 * 224 if quarters == 2 else 120 * 120)
    # a camera's image all the same: x grows by the column and y by the row, one focal length for both
    slope = frame[0, :2] / frame[0, 2:3]
    assert torch.allclose(slope[0].diff(dim=1)[filled[:, 1:]], torch.tensor(1 / focal), atol=1e-5)
    assert torch.allclose(slope[1].diff(dim=0)[filled[1:]], torch.tensor(1 / focal), atol=1e-5)
    # distances from a head to what is seen of the plane are as before
    gap, gap_turned = ((seen[0, :3] - centre[0, 0, :, None, None]).norm(dim=0)
                       for seen, centre in ((points, centres), (frame, turned)))
    assert abs(gap_turned[filled].min() - gap.min()) < 1e-3
    above = {1: [-1.0, 0.0], 2: [0.0, 1.0], 3: [1.0, 0.0]}[quarters]  # the upper part is there now
    assert torch.dot(turned[0, 0, :2], torch.tensor(above)) > 0.99 * centres[0, 0, :2].norm()
    # the second head, near an end of the long side, is beside the square
    assert visible.tolist() == [[1.0, pytest.approx(0.9 if quarters == 2 else 0.0), 0.0]]


def test_six_in_ten_of_what_is_drawn_are_faces(windows):
    one = torch.zeros(100, dtype=torch.int64)
    pool = replace(windows, is_face=torch.arange(100) < 10, camera_from_face=windows.camera_from_face[one])
    drawn = pool.draw(torch.arange(100), 4000, torch.Generator().manual_seed(0))
    assert float(pool.is_face[drawn].float().mean()) == pytest.approx(0.6, abs=0.04)
    faces = pool.draw(torch.arange(10), 50, torch.Generator().manual_seed(0))
    assert int(faces.max()) < 10 and len(faces.unique()) > 5  # faces only: all weights are equal


def test_a_gpu_draws_its_batches_without_a_tensor_from_elsewhere(windows, monkeypatch):
    """Run on the device `meta`. Like a GPU's, its tensors do not mix with tensors of the CPU."""
    gpu = torch.device('meta')
    generator = SimpleNamespace(device=gpu)  # a real one needs a GPU
    for name in ('rand', 'randn', 'randint', 'multinomial'):
        def draw(*shape, _draw=getattr(torch, name), generator=None, **options):
            return _draw(*shape, **options)
        monkeypatch.setattr(torch, name, draw)
    monkeypatch.setattr(sensors, '_any_fattens', lambda sensor: True)  # reads numbers
    pool = windows.to(gpu)
    seen = observe(pool, pool.draw(torch.zeros(8, dtype=torch.int64, device=gpu), 4, generator), generator)
    for batch in (pose_batch(seen, generator), shape_batch(seen, generator),
                  predicted_crops.predicted_shape_batch(seen, generator, lambda crops: (crops[:, 0, 0, :6], crops[:, 0, 0, :3]))):
        assert {value.device for value in batch.values()} == {gpu}
        assert len(batch['crop']) == 4
