# SPDX-License-Identifier: Apache-2.0
"""The parts of domain adaptation follow their equations."""
from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('rosbags')
pytest.importorskip('cv2')

from drawn_faces import CAMERA, MODEL, crops_at, face_at, frame_of, seen, write_models

from depthface_ros.face_model.expression_displacements import expression_displacements
from depthface_ros.face_model.mirror import mirrored_crops
from depthface_ros.geometry.crop import shape_crop
from training.adapt.adversarial import (
    DomainDiscriminator,
    adversarial_loss,
    reversal_scale,
    reverse_gradient,
)
from training.adapt.matched_poses import pose_bins, resampling_weights, viewpoints
from training.adapt.methods import LOSSES, Adaptation, Prediction, borrow_holes
from training.adapt.target_domain import select, view_batch, with_mirror_images
from training.evaluation.self_consistency import roll_face
from training.evaluation.surface_distance import face_triangles, median_distances, surface_distances
from training.models.from_onnx import load_onnx
from training.models.networks import FaceShapeNet
from training.synthesis.scene.random_scene import facing_pose

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


# poses of source and target

def poses_at(yaws, distances):
    return torch.tensor(np.stack([facing_pose(np.array([0, 0, z]), math.radians(yaw), 0, 0)
                                  for yaw, z in zip(yaws, distances)]), dtype=torch.float32)


def test_viewpoints_depend_on_the_camera_and_not_on_roll():
    face = face_at(yaw=30, pitch=10)
    plain, turned = (torch.tensor(each.camera_from_face[None])
                     for each in (face, roll_face(face, 0.7)))
    torch.testing.assert_close(viewpoints(plain), viewpoints(turned), atol=1e-4, rtol=0)
    straight = torch.tensor([[[0., 1., 0., 0.], [0., 0., -1., 0.], [-1., 0., 0., 0.8],
                              [0., 0., 0., 1.]]])
    torch.testing.assert_close(viewpoints(straight), torch.tensor([[0., 0., 0.8]]), atol=1e-5,
                               rtol=0)


def test_a_target_with_its_mirror_images_has_no_side():
    target = with_mirror_images(seen(face_at(yaw=25, position=(0.1, 0., 0.8))))
    azimuth, _, distance = viewpoints(target.camera_from_face).unbind(1)
    torch.testing.assert_close(azimuth[0], -azimuth[1])
    torch.testing.assert_close(distance[0], distance[1])
    crops = shape_crop(target.depth_m, target.intrinsics, target.camera_from_face)
    measured = crops[0, 3] * mirrored_crops(crops[1:])[0, 3] > 0
    assert measured.sum() > 1000
    difference = (crops[0] - mirrored_crops(crops[1:])[0])[:3, measured].abs()
    assert float(difference.median()) < 1e-3  # of a crop's size, where pixels round alike


def test_resampled_source_poses_are_spread_as_the_targets():
    rng = np.random.default_rng(0)
    source = poses_at(rng.uniform(-70, 70, 3000), rng.uniform(0.4, 2.0, 3000))
    target = poses_at(rng.normal(20, 12, 800), rng.uniform(0.6, 0.9, 800))
    chances = resampling_weights(source, target, uniform_fraction=0.)
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
    assert float(median_distances(surface_distances(depth, CAMERA, vertices, triangles))) < 0.0006
    nearer = vertices * (1 - 0.006 / 0.8)  # 6 mm along the rays
    in_front = surface_distances(depth, CAMERA, nearer, triangles)
    assert 0.0035 < float(median_distances(in_front)) < 0.0062
    nowhere = median_distances(surface_distances(torch.zeros_like(depth), CAMERA, vertices, triangles))
    assert torch.isnan(nowhere).all()


# training

@pytest.fixture(scope='module')
def network(tmp_path_factory):
    models = write_models(tmp_path_factory.mktemp('models'))
    return load_onnx('face_shape', models / 'face_shape.onnx', crops_at(-30, -10, 10, 30))


def test_predictions_of_mirrored_crops_are_mirrored_back(network):
    """Mirroring a prediction twice restores it; once gives the mirror image of the mesh."""
    adaptation = Adaptation(network, (), 10)
    said = Prediction(torch.zeros(1, 1), torch.tensor(MODEL.template)[None] * 0.1,
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
    assert source[0, 3, :40].any() and source[1, 3, 60:].any()  # the data set was not empty


@pytest.mark.parametrize('methods', [(name,) for name in LOSSES] + [('adversarial', 'holes')])
def test_every_method_gives_finite_losses_that_reach_the_encoder(network, methods):
    labels = {'offsets': torch.zeros(8, len(MODEL.template), 3), 'expression': torch.zeros(8, 52)}
    target = view_batch(select(seen(face_at(yaw=12)), torch.tensor([0, 0])),
                        torch.Generator().manual_seed(0))
    source = view_batch(select(seen(face_at(yaw=-12)), torch.tensor([0, 0])),
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


def test_faces_to_one_side_do_not_make_the_network_lopsided(network):
    """Each crop of a batch stands beside its mirror image, and a loss measures their disagreement."""
    view = view_batch(select(seen(face_at(yaw=25)), torch.tensor([0, 0])), torch.Generator().manual_seed(0))
    for crops, poses in zip(view['crop'].chunk(2), view['pose'].chunk(2)):
        one, other = crops.chunk(2)
        torch.testing.assert_close(mirrored_crops(one), other)
        torch.testing.assert_close(viewpoints(poses[:2])[:, 0], -viewpoints(poses[2:])[:, 0])
    fresh = FaceShapeNet(len(MODEL.template))
    fresh.load_state_dict(network.state_dict())
    adaptation = Adaptation(fresh.eval(), (), 10)
    optimizer = torch.optim.Adam(fresh.parameters(), 1e-4)
    disagreements = []
    for _ in range(4):
        disagreement = adaptation.asymmetry(adaptation.predict(view['crop'][:4]))
        disagreements.append(disagreement.item())
        optimizer.zero_grad()
        disagreement.backward()
        optimizer.step()
    assert disagreements[-1] < disagreements[0]
    symmetric = Prediction(*(torch.cat([part, part]) for part in (
        torch.zeros(1, 1), torch.zeros(1, len(MODEL.template), 3), torch.zeros(1, 52),
        torch.tensor([[0., 0.2, 0., 0.01, 0., 0.03]]))))  # a pitch and shifts within the plane of symmetry
    assert float(adaptation.asymmetry(symmetric)) < 0.1  # mm; the template is symmetric to that
    turned = symmetric._replace(residual=torch.tensor([[0., 0., 0.2, 0., 0., 0.]]).repeat(2, 1))
    assert float(adaptation.asymmetry(turned)) > 10


def test_self_training_keeps_predicted_expressions_and_corrects_the_rest(network):
    """Labels lose what expressions explain of their change, also while the network is trained."""
    fresh = FaceShapeNet(len(MODEL.template))
    fresh.load_state_dict(network.state_dict())
    adaptation = Adaptation(fresh.eval(), ('self-training',), 10).eval()
    crops = crops_at(-10, 20)
    offsets, expression, _ = (part.detach() for part in fresh(crops))
    with torch.no_grad():
        fresh.basis.bias += 0.01  # training goes on; the predictions to keep are those before it
    smile = torch.from_numpy(expression_displacements()[MODEL.expression_names.index('mouthSmileLeft')])
    further_away = torch.tensor([0.02, 0., 0.]).expand_as(offsets)
    expressive = (further_away.flatten(1) @ adaptation.expression_span.T) @ adaptation.expression_span
    labels = {'crop': crops, 'offsets': offsets + smile + further_away,
              'expression': torch.ones(2, 52)}
    kept = adaptation.with_kept_expressions(labels)
    torch.testing.assert_close(kept['expression'], torch.sigmoid(expression), atol=1e-4, rtol=0)
    rest = kept['offsets'] - offsets - further_away + expressive.view_as(offsets)
    assert float(smile.norm(dim=1).max()) > 0.005
    assert float(rest.norm(dim=2).max()) < 0.0015
    assert float(expressive.norm(dim=1).max()) < 0.6 * float(further_away.flatten(1).norm(dim=1).max())


def test_unknown_methods_are_refused(network):
    with pytest.raises(ValueError, match='expected some of adversarial'):
        Adaptation(network, ('magic',), 10)
