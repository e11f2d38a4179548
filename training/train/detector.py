# SPDX-License-Identifier: Apache-2.0
"""Train the head detector: a heat map of heads on coarse frames, and offsets to their centres."""
from __future__ import annotations

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from depthface_ros.engines.contract import DETECTOR_CELL, DETECTOR_HEIGHT, DETECTOR_WIDTHS
from depthface_ros.estimation.calibration import probability
from depthface_ros.estimation.head_detector import decode
from depthface_ros.geometry.camera import Intrinsics
from training.data.augment import uniform
from training.data.rendered_dataset import CoarseFrames
from training.models.from_onnx import first_weights
from training.models.networks import HeadDetectorNet
from training.models.provenance import note_run, run_folder
from training.options import add_fit_arguments, fit_settings
from training.synthesis.sensors import simulate
from training.train.fit import fit

HEAD_RADIUS = 0.06  # m; cells within are positive
FOUND_WITHIN = 0.05  # m
ROLLED = 0.15  # fraction of frames that are rolled by a quarter or half a turn
MIN_VISIBLE = 0.15  # visible fraction of a head that counts; less is ignored
# Loss weights: of the focal loss per positive cell, and per metre of offset.
HEATMAP_WEIGHT, OFFSET_WEIGHT = 3., 10.


def observe_frames(frames: CoarseFrames, index: Tensor, generator: torch.Generator,
                   other_sensors: bool = True, width: int = DETECTOR_WIDTHS[-1]) -> dict[str, Tensor]:
    """Return inputs and targets of frames `index` (B,): noisy, half of them mirrored, some rolled.

    :param other_sensors: for training: sensors are drawn anew, and some frames rolled.
    :param width: W of the input, at least that of the frames.
    :returns: point_map (B, 4, 120, W); reference (B, 3, 30, W / 4) the point each cell's offset
        starts from; offset (B, 3, 30, W / 4) m; heatmap (B, 30, W / 4) in 0..1; offset_weight and
        heatmap_weight (B, 30, W / 4); centres (B, heads, 3) and visible (B, heads) for validation.
    """
    mirrored = uniform(len(index), generator) < 0.5
    noisy = simulate(frames.depth(index)[..., :width], frames.sensors(index, generator if other_sensors else None),
                     frames.fx_native[index], frames.pixel_scale[index], generator,
                     hair=frames.hair(index)[..., :width], centre=frames.intrinsics[index][:, 2:])
    fx, fy, cx, cy = (value[:, None, None] for value in frames.intrinsics[index].unbind(1))
    u = torch.arange(width, device=index.device).expand(1, DETECTOR_HEIGHT, width)
    v = torch.arange(DETECTOR_HEIGHT, device=index.device)[:, None].expand(1, DETECTOR_HEIGHT, width)
    x, y = Intrinsics(fx, fy, cx, cy).unproject(u, v)
    point_map = torch.stack([x * noisy, y * noisy, noisy, (noisy > 0).float()], dim=1)
    flip = point_map.new_tensor([-1., 1., 1., 1.])
    mirror_image = point_map.flip(3) * flip[:, None, None]
    point_map = torch.where(mirrored[:, None, None, None], mirror_image, point_map)
    centres = frames.head_centres[index]
    centres = torch.where(mirrored[:, None, None], centres * flip[:3], centres)
    visible = frames.head_visible[index]
    if other_sensors:
        turns = torch.randint(1, 4, (len(index),), generator=generator, device=index.device)
        turns *= uniform(len(index), generator) < ROLLED
        for quarters in (1, 2, 3):
            some = turns == quarters
            if some.any():
                point_map[some], centres[some], visible[some] = rolled(
                    point_map[some], centres[some], visible[some], quarters, generator)
    return targets(point_map, centres, visible, fx[:, 0, 0])


def rolled(point_map: Tensor, centres: Tensor, visible: Tensor, quarters: int,
           generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return what a camera rolled by quarters of a turn measures; exact, noise included.

    A frame on its side keeps a random square; heads outside of it are ignored.

    :param point_map: (B, 4, H, W). centres: (B, M, 3) m. visible: (B, M) share of each head in view.
    """
    height, width = point_map.shape[2:]
    result = torch.zeros_like(point_map)
    if quarters % 2:
        first = int(torch.randint(width - height + 1, (1,), generator=generator, device=point_map.device))
        point_map = point_map[..., first:first + height]
        slope = torch.where(point_map[:, 3] > 0, point_map[:, 0] / point_map[:, 2].clamp(min=1e-3), torch.nan)
        low, high = (slope.flatten(1).nan_to_num(limit).aminmax(dim=1)[end][:, None]
                     for end, limit in ((0, torch.inf), (1, -torch.inf)))
        across = centres[..., 0] / centres[..., 2]
        visible = torch.where((across > low) & (across < high), visible, 0)
        width = height
    quarter = point_map.new_tensor([[0., 1., 0.], [-1., 0., 0.], [0., 0., 1.]])  # x, y to y, -x
    turn = torch.linalg.matrix_power(quarter, quarters)
    turned = torch.rot90(point_map, quarters, (2, 3))
    result[:, :3, :, :width] = torch.einsum('ij,bjhw->bihw', turn, turned[:, :3])
    result[:, 3, :, :width] = turned[:, 3]
    return result, centres @ turn.T, visible


def targets(point_map: Tensor, centres: Tensor, visible: Tensor, fx: Tensor) -> dict[str, Tensor]:
    """Return the targets of each cell, from the points and the head centres (B, M, 3) m."""
    batch, _, height, width = point_map.shape
    blocks = F.unfold(point_map, DETECTOR_CELL, stride=DETECTOR_CELL).reshape(
        batch, 4, DETECTOR_CELL ** 2, height // DETECTOR_CELL, width // DETECTOR_CELL)
    depths = torch.where(blocks[:, 3] > 0, blocks[:, 2], torch.inf)
    nearest = depths.argmin(dim=1, keepdim=True)[:, None]
    reference = blocks[:, :3].gather(2, nearest.expand(-1, 3, -1, -1, -1))[:, :, 0]
    measured = torch.isfinite(depths).any(dim=1)

    exists = torch.isfinite(centres[:, :, 0])
    centres = torch.where(exists[:, :, None], centres, 1e3)
    to_centre = centres[:, :, :, None, None] - reference[:, None]  # (B, M, 3, rows, columns)
    distance = to_centre.norm(dim=2)
    # Across the viewing ray the distance falls to 0 at the middle of a head, at any range and from
    # any side, and behind an occluder; along the ray it separates heads from their background.
    direction = F.normalize(reference, dim=1, eps=1e-6)[:, None]
    along = (to_centre * direction).sum(2)
    across = (distance.square() - along.square()).clamp(min=0).sqrt()
    # ... but never narrower than a cell, or a far head would have no cell at all
    cell_m = DETECTOR_CELL * centres[:, :, 2] / fx[:, None]
    radius = (0.7 * cell_m).clamp(min=HEAD_RADIUS)[:, :, None, None]
    on_head = (along > -0.05) & (along < 0.25) & measured[:, None]
    heatmap_each = torch.exp(-0.5 * (across / radius * 1.6).square()) * on_head
    seen = (visible > MIN_VISIBLE)[:, :, None, None]
    heatmap, owner = (heatmap_each * seen).max(dim=1)
    offset = to_centre.gather(1, owner[:, None, None].expand(-1, 1, 3, -1, -1))[:, 0]
    hidden = (heatmap_each * ~seen).amax(dim=1)
    return {'point_map': point_map, 'reference': reference, 'offset': offset, 'heatmap': heatmap,
            'offset_weight': (heatmap > 0.2).float(), 'heatmap_weight': (hidden < 0.1).float(),
            'centres': torch.where(exists[:, :, None], centres, torch.nan), 'visible': visible}


def detector_loss(model: HeadDetectorNet, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the loss terms: quality focal loss (Li et al. 2020) and metric offsets."""
    logits, offset = (out.float() for out in model(batch['point_map'].contiguous(
        memory_format=torch.channels_last)))
    focus = (torch.sigmoid(logits) - batch['heatmap']).abs().square() * batch['heatmap_weight']
    heatmap = F.binary_cross_entropy_with_logits(logits, batch['heatmap'], reduction='none') * focus
    weight = batch['offset_weight']
    error = (offset - batch['offset']).square().sum(1).add(1e-6).sqrt()
    count = weight.sum().clamp(min=1)
    return {'heatmap': HEATMAP_WEIGHT * heatmap.sum() / count, 'offset': OFFSET_WEIGHT * (error * weight).sum() / count}


@torch.no_grad()
def detector_figures(model: HeadDetectorNet, batch: dict[str, Tensor]) -> dict[str, float]:
    """Return missed and false heads on a fixed batch, and the error of found centres."""
    device = next(model.parameters()).device
    outputs = [model(chunk.to(device)) for chunk in batch['point_map'].split(32)]
    heatmap, offset = (torch.cat(parts).cpu().numpy() for parts in zip(*outputs))
    heatmap = probability(heatmap)
    expected = missed = false = 0
    errors = []
    for i, points in enumerate(batch['point_map'].numpy()):
        found, _ = decode(heatmap[i], offset[i], points)
        truth = batch['centres'][i].numpy()
        distance = np.linalg.norm(truth[:, None] - found[None], axis=2)
        distance = np.where(np.isnan(distance), np.inf, distance)
        nearest = distance.min(axis=1, initial=np.inf)
        visible = np.isfinite(truth[:, 0]) & (batch['visible'][i].numpy() > 0.4)
        expected += visible.sum()
        missed += (visible & (nearest > FOUND_WITHIN)).sum()
        errors += list(nearest[visible & (nearest <= FOUND_WITHIN)])
        false += (distance.min(axis=0, initial=np.inf) > 2 * FOUND_WITHIN).sum()
    return {'_missed': missed / max(expected, 1), '_false_per_frame': false / len(heatmap),
            '_mm_median': 1000 * float(np.median(errors)) if errors else float('nan')}


def frames_by_width(frames: CoarseFrames) -> dict[int, Tensor]:
    """Return the indices of the frames that need each width of the input."""
    columns = frames.depth_steps.numpy().any(axis=1)  # that hold anything
    filled = [int(np.flatnonzero(row).max(initial=-1)) + 1 for row in columns]
    least = torch.tensor([min(w for w in DETECTOR_WIDTHS if w >= count) for count in filled])
    groups = {width: torch.nonzero(least == width)[:, 0] for width in DETECTOR_WIDTHS}
    return {width: index for width, index in groups.items() if len(index)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_fit_arguments(parser, steps=3000, batch=16)


def run(options: argparse.Namespace) -> None:
    settings = fit_settings(options)
    training = CoarseFrames.load(options.pools / 'frames-train')
    validation = CoarseFrames.load(options.pools / 'frames-validation')
    held_out = observe_frames(validation, torch.arange(min(200, len(validation))),
                              torch.Generator().manual_seed(1), other_sensors=False)

    by_width = {width: index.to(settings.draw_on) for width, index in frames_by_width(training).items()}
    training = training.to(settings.draw_on)
    weights = torch.tensor([float(len(index)) for index in by_width.values()], device=settings.draw_on)

    def make_batch(generator: torch.Generator) -> dict[str, Tensor]:
        width = list(by_width)[int(torch.multinomial(weights, 1, generator=generator))]
        some = torch.randint(len(by_width[width]), (options.batch // settings.parts,), generator=generator,
                             device=settings.draw_on)
        return observe_frames(training, by_width[width][some], generator, width=width)

    network = first_weights('head_finder', options.start,
                            lambda: make_batch(settings.generator(0))['point_map'].cpu())
    folder = run_folder(options.runs, 'head_finder')
    note_run(folder, options, 'head_finder', len(training))
    fit(network, make_batch, detector_loss, lambda net: detector_figures(net, held_out),
        settings, folder, torch.device(options.device))
