# SPDX-License-Identifier: Apache-2.0
"""Domain adaptation: its parts do what their equations say; recordings become networks."""
from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('rosbags')
cv2 = pytest.importorskip('cv2')

from depthface_ros import FaceEstimator, Intrinsics  # noqa: E402
from depthface_ros.crop import shape_crop  # noqa: E402
from depthface_ros.engines import MODELS_FOLDER, open_engine  # noqa: E402
from depthface_ros.estimator import Face  # noqa: E402
from depthface_ros.face_model import FaceModel  # noqa: E402
from depthface_ros.recordings import Frame, open_recording  # noqa: E402
from training.__main__ import main  # noqa: E402
from training.adaptation import METHODS, Adaptation, Pass, borrow_holes, settle  # noqa: E402
from training.augment import rigid, shape_batch, transform  # noqa: E402
from training.domain import (  # noqa: E402
    DomainDiscriminator, adversarial_loss, gram_distance, pose_bins, resampling_weights,
    reversal_scale, reverse_gradient, viewpoints)
from training.export import export  # noqa: E402
from training.frames import cut_window, mirrored, rectified, rolled  # noqa: E402
from training.from_onnx import load_onnx  # noqa: E402
from training.label_free import ROLL, label_free_figures, mirror_face, roll_face  # noqa: E402
from training.networks import FaceShapeNet  # noqa: E402
from training.pool import DEPTH_STEP  # noqa: E402
from training.pose_finetuning import constant_offset  # noqa: E402
# noqa: E402
from training.surface_distance import face_triangles, median_distances, surface_gaps, surface_loss
from training.synthesis.renderer import render_depth  # noqa: E402
from training.synthesis.scene import facing_pose  # noqa: E402
from training.synthesis.sensors import Sensor  # noqa: E402
from training.target import mirror_crops, observation, take, view_batch  # noqa: E402

MODEL = FaceModel.load()
SAMPLE = Path(__file__).parents[1] / 'demo' / 'sample.mcap'
CAMERA = Intrinsics(300.0, 300.0, 161.5, 118.5)


def face_at(yaw=0.0, pitch=0.0, roll=0.0, position=(0.02, -0.01, 0.8)):
    """A lopsided face as an estimator would give it."""
    pose = facing_pose(np.array(position), *np.radians([yaw, pitch, roll])).astype(np.float32)
    shape = MODEL.template + np.where(MODEL.template[:, 1:2] > 0.02, np.float32([0.004, 0.004, 0]),
                                      0)
    expression = np.linspace(0, 1, 52, dtype=np.float32)
    return Face(pose, (shape @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32), expression, 0.9,
                0.02, 0.002)


def frame_of(face, triangles=MODEL.triangles, camera=CAMERA, shape=(240, 320)):
    """What a camera without noise sees of a face: float32 metres."""
    corners = torch.tensor(face.vertices[triangles])
    fields = torch.tensor([[camera.fx], [camera.fy], [camera.cx], [camera.cy]],
                          dtype=torch.float32)
    depth = render_depth(corners, torch.zeros(len(corners), dtype=torch.int64), *fields, *shape)
    return Frame(0, depth[0].numpy().astype(np.float32), camera, 'drawn')


def seen(face, camera=CAMERA):
    depth, cameras = cut_window(frame_of(face, camera=camera), face.head_centre)
    return observation(depth[None], np.array([cameras], np.float32), face.camera_from_face[None])


# gradient reversal and the discriminator

def test_reversal_keeps_values_and_turns_gradients_round():
    x = torch.tensor([1., -2., 3.], requires_grad=True)
    y = reverse_gradient(x, 0.3)
    torch.testing.assert_close(y, x)
    (y * torch.tensor([1., 2., 4.])).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([-0.3, -0.6, -1.2]))


def test_the_encoder_climbs_where_the_discriminator_descends():
    torch.manual_seed(0)
    discriminator = DomainDiscriminator(5)
    source, target = torch.randn(2, 16, 5)
    gradients = []
    for scale in (0.5, -1.0):  # a scale of -1 is no reversal at all
        features = source.clone().requires_grad_(True)
        discriminator.zero_grad()
        adversarial_loss(discriminator, features, target, scale).backward()
        gradients.append((features.grad, discriminator.layers[1].weight.grad.clone()))
    (reversed_features, reversed_weights), (plain_features, plain_weights) = gradients
    torch.testing.assert_close(reversed_features, -0.5 * plain_features)
    torch.testing.assert_close(reversed_weights, plain_weights)
    assert plain_features.abs().max() > 0


def test_the_reversal_grows_from_nothing_to_one():
    scales = [reversal_scale(progress) for progress in np.linspace(0, 1, 11)]
    assert scales[0] == 0 and scales == sorted(scales) and 0.999 < scales[-1] <= 1


def test_gram_matrices_of_one_distribution_are_alike_and_of_two_are_not():
    torch.manual_seed(0)
    features = torch.randn(32, 12) * torch.linspace(3, 0.1, 12)
    angle, scale = gram_distance(features, features.clone())
    assert float(angle) == pytest.approx(0, abs=1e-5)
    assert float(scale) == pytest.approx(0, abs=1e-3)
    other = features.flip(1).clone().requires_grad_(True)
    angle, scale = gram_distance(features, 2 * other)
    assert float(angle.detach()) > 0.05 and float(scale.detach()) > 1
    (angle + scale).backward()
    assert torch.isfinite(other.grad).all() and other.grad.abs().max() > 0


# poses of source and target

def poses_at(yaws, distances):
    return torch.tensor(np.stack([facing_pose(np.array([0, 0, z]), math.radians(yaw), 0, 0)
                                  for yaw, z in zip(yaws, distances)]), dtype=torch.float32)


def test_viewpoints_tell_where_the_camera_is_and_not_how_a_head_is_rolled():
    face = face_at(yaw=30, pitch=10)
    plain, turned = (torch.tensor(each.camera_from_face[None])
                     for each in (face, roll_face(face, 0.7)))
    torch.testing.assert_close(viewpoints(plain), viewpoints(turned), atol=1e-4, rtol=0)
    straight = torch.tensor([[[0., 1., 0., 0.], [0., 0., -1., 0.], [-1., 0., 0., 0.8],
                              [0., 0., 0., 1.]]])
    torch.testing.assert_close(viewpoints(straight), torch.tensor([[0., 0., 0.8]]), atol=1e-5,
                               rtol=0)


def test_resampled_source_poses_are_spread_as_the_targets():
    rng = np.random.default_rng(0)
    source = poses_at(rng.uniform(-70, 70, 3000), rng.uniform(0.4, 2.0, 3000))
    target = poses_at(rng.normal(20, 12, 800), rng.uniform(0.6, 0.9, 800))
    chances = resampling_weights(source, target, everything_else=0.)
    assert float(chances.sum()) == pytest.approx(1, abs=1e-5)
    drawn = source[torch.multinomial(chances, 20_000, True,
                                     generator=torch.Generator().manual_seed(0))]
    bins, count = pose_bins(target).unique(return_counts=True)
    for b in bins[count > 40]:
        share, wanted = ((pose_bins(poses) == b).float().mean() for poses in (drawn, target))
        assert float(share) == pytest.approx(float(wanted), abs=0.02)
    assert float(viewpoints(drawn)[:, 2].max()) < 1.01  # no far ones
    some_of_all = resampling_weights(source, target)
    assert float(some_of_all.min()) == pytest.approx(0.1 / 3000)


def test_a_target_beyond_the_source_leaves_the_source_as_it_is():
    chances = resampling_weights(poses_at([0, 10], [0.5, 0.6]), poses_at([0], [5.0]))
    torch.testing.assert_close(chances, torch.full((2,), 0.5))


# mesh to points

def test_a_mesh_that_lies_on_the_points_has_no_distance_and_one_in_front_has_its_own():
    face = face_at(yaw=20, pitch=-10)
    depth = torch.tensor(frame_of(face).depth)[None]
    vertices = torch.tensor(face.vertices)[None]
    triangles = face_triangles(MODEL)
    assert float(median_distances(surface_gaps(depth, CAMERA, vertices, triangles))) < 0.0006
    nearer = vertices * (1 - 0.006 / 0.8)  # 6 mm along the rays
    in_front = surface_gaps(depth, CAMERA, nearer, triangles)
    assert 0.0035 < float(median_distances(in_front)) < 0.0062
    nowhere = median_distances(surface_gaps(torch.zeros_like(depth), CAMERA, vertices, triangles))
    assert torch.isnan(nowhere).all()


def test_descending_the_surface_loss_pulls_a_mesh_onto_the_points_past_a_hand():
    face = face_at(yaw=20)
    depth = torch.tensor(frame_of(face).depth)[None].clone()
    depth[:, 120:140, 150:175] = 0.6  # a hand over a part of the face
    shift = torch.tensor([0.0, 0.0, 0.006], requires_grad=True)
    optimizer = torch.optim.Adam([shift], lr=5e-4)
    for _ in range(40):
        optimizer.zero_grad()
        gaps = surface_gaps(depth, CAMERA, torch.tensor(face.vertices)[None] + shift,
                            face_triangles(MODEL, 3))
        surface_loss(gaps).backward()
        optimizer.step()
    assert float(shift.detach().norm()) < 0.0015


# views of a frame

def test_mirrored_and_rolled_frames_are_what_a_camera_would_see_of_mirrored_and_rolled_faces():
    face = face_at(yaw=25, pitch=10, roll=5)
    frame = frame_of(face)
    flip = MODEL.triangles[:, ::-1].copy()  # mirrored triangles turn their other side
    again = frame_of(replace(face, vertices=face.vertices * np.float32([-1, 1, 1])), flip,
                     replace(CAMERA, cx=319 - CAMERA.cx))
    assert np.abs(mirrored(frame).depth - again.depth).max() < 1e-5
    # the expected face has the usual order of vertices: its triangles look outwards again
    expected = frame_of(mirror_face(face, MODEL), camera=mirrored(frame).intrinsics)
    assert np.percentile(np.abs(expected.depth - again.depth), 99) < 0.002
    turned = rolled(frame, 0.3)
    expected = frame_of(roll_face(face, 0.3))
    both = (turned.depth > 0) & (expected.depth > 0)
    assert both.sum() > 0.97 * (expected.depth > 0).sum()
    assert np.percentile(np.abs(turned.depth - expected.depth)[both], 95) < 0.004


def test_rectified_frames_hold_the_same_points():
    distorted = Intrinsics(300.0, 300.0, 160.0, 120.0, (0.1, -0.05, 0.001, 0.0, 0.0))
    v, u = np.mgrid[:240, :320].astype(np.float32)
    x, y = distorted.unproject(u, v)
    plane = (1 / (1 + 0.2 * x - 0.1 * y)).astype(np.float32)  # z of a slanted plane
    straight = rectified(Frame(0, plane, distorted, 'lens'))
    x, y = straight.intrinsics.unproject(u, v)
    inside = straight.depth > 0
    assert not straight.intrinsics.distortion and inside.mean() > 0.9
    assert np.abs(straight.depth - 1 / (1 + 0.2 * x - 0.1 * y))[inside].max() < 0.001


def test_windows_show_the_head_in_coordinates_of_their_own_camera():
    face = face_at(yaw=15, position=(0.15, 0.05, 0.4))
    for camera in (CAMERA, replace(CAMERA, fx=1000.0, fy=1000.0, cx=300.0, cy=260.0)):
        frame = frame_of(face, camera=camera, shape=(520, 900))
        depth, (fx, fy, cx, cy) = cut_window(frame, face.head_centre)
        assert depth.shape == (160, 160) and (depth > 0).sum() > 1000
        gaps = surface_gaps(torch.tensor(depth)[None], Intrinsics(fx, fy, cx, cy),
                            torch.tensor(face.vertices)[None],
                            face_triangles(MODEL))
        assert float(median_distances(gaps)) < 0.001


def test_the_crop_of_a_mirrored_face_is_the_mirrored_crop():
    face = face_at(yaw=25, pitch=5)
    frame = frame_of(face)
    crop, crop_of_mirrored = (
        shape_crop(each.depth, each.intrinsics, pose[None]) for each, pose in (
            (frame, face.camera_from_face), (mirrored(frame),
                                             mirror_face(face, MODEL).camera_from_face)))
    difference = np.abs(mirror_crops(torch.tensor(crop)).numpy() - crop_of_mirrored).max(axis=1)
    assert (difference > 1e-3).mean() < 0.02  # but for pixels whose nearest neighbour is a draw


class KnowsTheFrames:
    """An estimator that tells the right face for images it was made for, but for a bias."""

    def __init__(self, answers, bias=np.eye(4, dtype=np.float32)):
        self.face_model, self.answers, self.bias = MODEL, answers, bias

    def __call__(self, depth, intrinsics):
        face = min(self.answers, key=lambda answer: np.abs(answer[0] - depth).mean())[1]
        moved = face.camera_from_face @ self.bias
        vertices = transform(torch.tensor(moved @ np.linalg.inv(face.camera_from_face))[None],
                             torch.tensor(face.vertices)[None])
        return [replace(face, camera_from_face=moved,
                        vertices=vertices[0].numpy().astype(np.float32))]


def test_equivariance_is_zero_for_a_perfect_estimator_and_twice_the_bias_of_another():
    face = face_at(yaw=10)
    frame = frame_of(face)
    answers = [(frame.depth, face), (mirrored(frame).depth, mirror_face(face, MODEL)),
               (rolled(frame, ROLL).depth, roll_face(face, ROLL))]
    figures = label_free_figures(KnowsTheFrames(answers), [frame])
    assert figures['faces'] == figures['mirror_found_again'] == figures['roll_found_again'] == 1
    assert max(figures[f'{name}_mm_median'] for name in ('mirror', 'roll')) < 1e-3
    assert max(figures[f'{name}_deg_median'] for name in ('mirror', 'roll')) < 0.05
    assert figures['mesh_to_points_mm_median'] < 0.6

    # always, also of mirrored faces
    to_the_left = rigid(torch.tensor([[0, 0, math.radians(4), 0, 0, 0]])).numpy()[0]
    biased = label_free_figures(KnowsTheFrames(answers, to_the_left), [frame])
    assert biased['mirror_deg_median'] == pytest.approx(8, abs=0.1)
    assert biased['roll_deg_median'] == pytest.approx(0, abs=0.1)
    assert biased['mesh_to_points_mm_median'] > 1.0
    assert label_free_figures(KnowsTheFrames(answers), [])['faces'] == 0


# learning

def crops_at(*yaws):
    noise = torch.Generator().manual_seed(0)
    return torch.cat([shape_batch(seen(face_at(yaw=yaw)), noise)['crop'] for yaw in yaws])


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """The shipped finder and pose network, and a face-shape network that has learnt nothing."""
    folder = tmp_path_factory.mktemp('models')
    for path in MODELS_FOLDER.glob('head_*'):
        shutil.copy(path, folder)
    torch.manual_seed(0)
    network = FaceShapeNet(len(MODEL.template))
    with torch.no_grad():
        network.basis.weight.mul_(0.01)  # faces of nearly the average shape
        network.basis.bias.zero_()
    settle(network, crops_at(*range(-40, 41, 10)))
    export(network, 'face_shape', folder / 'face_shape.onnx')
    return folder


@pytest.fixture(scope='module')
def network(models):
    return load_onnx('face_shape', models / 'face_shape.onnx', crops_at(-30, -10, 10, 30))


def test_networks_out_of_onnx_files_compute_the_same_and_can_be_trained(models, network):
    crops = crops_at(12)
    with torch.no_grad():
        offsets, expression, residual = network(crops)
    answer = open_engine('cpu', models)[0].run('face_shape', crops.numpy())
    np.testing.assert_allclose(offsets.numpy(), answer['offsets'], atol=1e-6)
    np.testing.assert_allclose(torch.sigmoid(expression).numpy(), answer['expression'], atol=1e-5)
    np.testing.assert_allclose(residual.numpy(), answer['residual'], atol=1e-6)
    with pytest.raises(ValueError, match='does not hold the head_pose network'):
        load_onnx('head_pose', models / 'face_shape.onnx', crops)


def test_what_a_network_says_of_a_mirrored_crop_is_put_back(network):
    """Mirroring the answer twice gives it back; once, the mirror image of the same mesh."""
    adaptation = Adaptation(network, (), 10)
    said = Pass(torch.zeros(1, 1), torch.tensor(MODEL.template)[None] * 0.1,
                torch.arange(52.)[None],
                torch.tensor([[0.1, 0.2, 0.3, 0.01, 0.02, 0.03]]))
    other = adaptation.mirrored(said)
    for one, again in zip(said[1:], adaptation.mirrored(other)[1:]):
        torch.testing.assert_close(one, again)
    pose = torch.tensor(face_at(yaw=20).camera_from_face)[None]
    flip_camera, flip_face = (torch.diag(torch.tensor(signs)) for signs in (
        [-1., 1., 1., 1.], [1., -1., 1., 1.]))
    flipped = flip_camera @ pose @ flip_face
    mesh, mirror_mesh = adaptation.posed(said, pose), adaptation.posed(other, flipped)
    mirror = torch.tensor(MODEL.mirror, dtype=torch.int64)
    torch.testing.assert_close(mirror_mesh, mesh[:, mirror] * torch.tensor([-1., 1., 1.]),
                               atol=2e-5, rtol=0)


def test_borrowed_holes_come_from_the_target_crop_of_the_face_that_is_turned_alike():
    source = crops_at(-30, 30)
    target = crops_at(-28, 32)
    target[0, :, :40], target[1, :, 60:] = 0, 0  # the first lacks the forehead, the other the chin
    pierced = borrow_holes(source, target)
    assert not pierced[0, :, :40].any() and not pierced[1, :, 60:].any()
    kept = (target[:, 3:] != 0).expand_as(source)
    torch.testing.assert_close(pierced[kept], source[kept])
    assert source[0, 3, :40].any() and source[1, 3, 60:].any()  # there was something to lose


@pytest.mark.parametrize('methods', [(name,) for name in METHODS] + [('adversarial', 'surface')])
def test_every_method_gives_finite_losses_that_reach_the_encoder(network, methods):
    labels = {'offsets': torch.zeros(4, len(MODEL.template), 3), 'expression': torch.zeros(4, 52)}
    target = view_batch(take(seen(face_at(yaw=12)), torch.tensor([0, 0])),
                        torch.Generator().manual_seed(0))
    source = view_batch(take(seen(face_at(yaw=-12)), torch.tensor([0, 0])),
                        torch.Generator().manual_seed(1))
    fresh = FaceShapeNet(len(MODEL.template))
    fresh.load_state_dict(network.state_dict())
    adaptation = Adaptation(fresh, methods, 10).train()
    adaptation.step += 5  # at the very start the reversed gradient is zero
    terms = adaptation(source | labels | {
        f'target_{name}': value for name, value in (target | labels).items()})
    own = {name: term for name, term in terms.items()
           if name not in ('shape', 'posed', 'rotation', 'expression')}
    assert own and all(torch.isfinite(term) for term in terms.values())
    sum(own.values()).backward()
    gradients = [parameter.grad.abs().max() for parameter in fresh.encoder.parameters()]
    assert all(torch.isfinite(gradient) for gradient in gradients) and max(gradients) > 0
    assert int(adaptation.step) == 6


def test_unknown_methods_are_refused(network):
    with pytest.raises(ValueError, match='expected some of adversarial'):
        Adaptation(network, ('magic',), 10)


def test_settling_takes_the_statistics_of_the_crops():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(4, 3, 1), torch.nn.BatchNorm2d(3))
    crops = torch.randn(64, 4, 5, 5) * 3 + 1
    settle(net, crops)
    torch.testing.assert_close(net[1].running_mean, net[0](crops).mean((0, 2, 3)).detach(),
                               atol=1e-4, rtol=1e-4)
    assert net[1].momentum == 0.1 and not net.training


def test_the_constant_between_two_head_frames_is_found_among_bad_predictions():
    rng = np.random.default_rng(0)
    truth = np.stack([face_at(yaw=yaw, pitch=pitch).camera_from_face.astype(float)
                      for yaw, pitch in rng.uniform(-40, 40, (40, 2))])
    face_from_head = facing_pose(np.array([-0.1, 0.0, -0.02]), 0.1, -0.2, 0.05).astype(float)
    predicted = truth.copy()
    predicted[::7] = face_at(yaw=70).camera_from_face
    predicted[1] = np.nan
    offset = constant_offset(truth @ face_from_head, predicted)
    np.testing.assert_allclose(offset, np.linalg.inv(face_from_head), atol=1e-3)
    wrong = truth @ face_from_head
    wrong[:, :3, :3] = np.swapaxes(wrong[:, :3, :3], 1, 2)
    with pytest.raises(ValueError, match='transposed'):
        constant_offset(wrong, predicted)


# a user's recording

@pytest.fixture(scope='module')
def pools(tmp_path_factory):
    """A pool of a few drawn faces, as `python -m training render` would write it."""
    folder = tmp_path_factory.mktemp('pools') / 'windows-train'
    folder.mkdir()
    faces = [face_at(yaw=yaw, position=(0, 0, 0.7)) for yaw in range(-35, 36, 10)]
    cut = [cut_window(frame_of(face), face.head_centre) for face in faces]
    count = len(faces)
    np.savez(folder / 'shard_00000.npz',
             depth_steps=np.array([depth / DEPTH_STEP for depth, _ in cut]).round().astype('u2'),
             hair_mask=np.zeros((count, 160, 160), bool),
             intrinsics=np.array([camera for _, camera in cut], np.float32),
             fx_native=np.full(count, 300, np.float32), pixel_scale=np.ones(count, np.float32),
             family=np.zeros(count, np.int8),
             sensor=np.tile(np.float32(tuple(Sensor())), (count, 1)),
             camera_from_face=np.stack([face.camera_from_face for face in faces]),
             offsets=np.zeros((count, *MODEL.template.shape), np.float16),
             expression=np.zeros((count, 52), np.float16), is_face=np.ones(count, bool))
    return folder.parent


def write_camera(folder, camera):
    (folder / 'camera.json').write_text(json.dumps(
        {name: getattr(camera, name) for name in ('fx', 'fy', 'cx', 'cy')}))


def test_a_recording_becomes_new_networks_and_a_report(tmp_path, pools, models, capsys):
    folder = tmp_path / 'pngs'
    folder.mkdir()
    frames = [frame for frame, _ in zip(open_recording(SAMPLE), range(8))]
    for i, frame in enumerate(frames):
        assert cv2.imwrite(str(folder / f'{i}.png'), frame.depth)
    write_camera(folder, frames[0].intrinsics)
    out = tmp_path / 'adapted'
    main(['adapt', '--folder', str(folder), '--models', str(models), '--pools', str(pools),
          '--out', str(out), '--steps', '3', '--batch', '8', '--device', 'cpu', '--preset', 'cpu',
          '--report-frames', '2', '--methods', 'adversarial', 'surface'])
    report = json.loads((out / 'report.json').read_text())
    assert set(report) == {f'{stage}, {when}' for stage in ('networks alone', 'with alignment')
                           for when in ('before', 'after')}
    before, after = (report[f'networks alone, {when}'] for when in ('before', 'after'))
    assert before['faces'] == after['faces'] > 0
    assert before['mesh_to_points_mm_median'] != after['mesh_to_points_mm_median'] > 0
    assert 'mesh to points mm median' in capsys.readouterr().out
    for name, same in (('head_pose', True), ('head_finder', True), ('face_shape', False)):
        old, new = ((path / f'{name}.onnx').read_bytes() for path in (models, out))
        assert (old == new) is same
    card = json.loads((out / 'face_shape.json').read_text())
    assert card['adapted']['methods'] == ['adversarial', 'surface']
    assert FaceEstimator('cpu', models_folder=out)(frames[0].depth, frames[0].intrinsics)


def test_a_recording_without_faces_or_without_a_pool_says_so(tmp_path, pools):
    folder = tmp_path / 'empty_room'
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f'{i}.png'), np.full((120, 160), 2000, np.uint16))
    write_camera(folder, Intrinsics(150, 150, 80, 60))
    arguments = ['adapt', '--folder', str(folder), '--out', str(tmp_path), '--device', 'cpu']
    with pytest.raises(ValueError, match='no face was found'):
        main([*arguments, '--pools', str(pools)])
    with pytest.raises(FileNotFoundError, match='python -m training render'):
        main([*arguments, '--pools', str(tmp_path)])


def test_labelled_frames_fine_tune_the_pose_network(tmp_path, pools):
    """Pandora's layout, with a head frame that is not ours and the shipped network's labels."""
    try:
        load_onnx('head_pose', MODELS_FOLDER / 'head_pose.onnx', torch.zeros(2, 4, 96, 96))
    except ValueError:
        pytest.skip('the shipped pose network is of an older architecture')
    estimator = FaceEstimator('cpu')
    frames = [frame for frame, _ in zip(open_recording(SAMPLE), range(12))]
    head_from_face = np.array([[0, 1, 0, 0], [0, 0, -1, 0], [-1, 0, 0, 0], [0, 0, 0, 1.]])
    from scipy.spatial.transform import Rotation
    root = tmp_path / 'pandora'
    for person in ('01_a', '02_a'):
        folder = root / person
        folder.mkdir(parents=True)
        lines = []
        for i, frame in enumerate(frames[::2] if person == '01_a' else frames[1::2]):
            face = estimator(frame.depth, frame.intrinsics)[0]
            camera_from_head = face.camera_from_face @ np.linalg.inv(head_from_face)
            angles = Rotation.from_matrix(camera_from_head[:3, :3]).as_euler('XYZ', degrees=True)
            lines.append(', '.join(map(str, [i, *angles, *camera_from_head[:3, 3]])))
            cv2.imwrite(str(folder / f'{i:06d}_DEPTH.png'), frame.depth)
        (folder / 'angles.csv').write_text('\n'.join(lines))
    write_camera(root, frames[0].intrinsics)
    out = tmp_path / 'adapted'
    main(['adapt', '--labels', 'pandora', str(root), '--pools', str(pools), '--out', str(out),
          '--steps', '2', '--batch', '8', '--device', 'cpu', '--preset', 'cpu'])
    report = json.loads((out / 'report.json').read_text())
    assert report['before']['geodesic_deg_median'] < 1 and report['before']['missed_percent'] == 0
    assert np.isfinite(report['after']['geodesic_deg_median'])
    assert (out / 'head_pose.onnx').read_bytes() != (MODELS_FOLDER / 'head_pose.onnx').read_bytes()
    assert FaceEstimator('cpu', models_folder=out).face_model is not None
