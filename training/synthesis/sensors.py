# SPDX-License-Identifier: Apache-2.0
"""Simulate the errors of depth cameras: noise, quantisation, flying pixels, shadows and holes.

Every image of a batch has its own sensor. All three families use one pipeline with different
numbers, so mixed batches run without branches. Ranges and formulas:

- structured light: Nguyen, Izadi, Lovell, "Modeling Kinect sensor noise", 3DIMPVT 2012;
  disparity in steps of 1/8 px as in Handa's simulated Kinect (ICL-NUIM, ICRA 2014).
- active stereo: theoretical RMS of Intel's "Best-known-methods for tuning D400 depth cameras".
- time of flight: Toelgyessy et al., "Evaluation of the Azure Kinect", Sensors 21(2):413, 2021.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import functional

from training.synthesis.random_images import RandomImages

HAIR_ROUGHNESS = 0.007  # m, the most by which locks stand out; it differs from head to head
FAR = 8.0  # m; marks pixels without depth where depths are compared or interpolated


class Sensor(NamedTuple):
    """The settings of one sensor. Pixels are those of the sensor itself, lengths are metres.

    The noise along z has a standard deviation of
        noise_base + noise_linear max(z - noise_knee, 0) + noise_quadratic (z - noise_knee)^2
        + disparity_noise z^2 / (f baseline) + noise_incidence / sqrt(z) (t / (pi/2 - t))^2
    at an angle of incidence t.
    """

    noise_base: float = 0.0
    noise_linear: float = 0.0
    noise_quadratic: float = 0.0
    noise_knee: float = 0.0
    disparity_noise: float = 0.0  # px
    noise_incidence: float = 0.0
    correlation: float = 1.0  # px over which the noise is alike
    lateral: float = 0.0  # px, standard deviation of the position at which a pixel measures
    flying: float = 0.0  # 1: pixels on an edge mix both depths; 0: they take one
    smoothing: float = 0.0  # 0..1, weight of a local mean away from edges
    baseline: float = 0.0  # m to the projector or the second imager (negative: on the left)
    disparity_step: float = 0.0  # px; 0: not quantised
    depth_unit: float = 0.001  # m
    incidence_limit: float = 1.4  # rad, beyond which surfaces vanish
    fattening: float = 0.0  # px by which foreground grows over what lies behind its edges
    edge_jump: float = 0.04  # m between neighbours that make an edge
    edge_drop: float = 0.0  # fraction of edge pixels without a measurement
    speckle: float = 0.0  # fraction of single pixels without a measurement at 1 m, growing with z^2
    hole: float = 0.0  # fraction of the image inside blob-like holes
    hair_hole: float = 0.0  # fraction of hair inside blob-like holes
    bias: float = 0.0  # m per metre of z, amplitude of a slowly varying error
    offset: float = 0.0  # m
    min_range: float = 0.1
    max_range: float = 6.0


@dataclass(frozen=True)
class SensorBatch:
    """The sensors of a batch of images: table (B, number of settings) float32."""

    table: torch.Tensor

    @classmethod
    def stack(cls, sensors):
        return cls(torch.tensor([tuple(sensor) for sensor in sensors], dtype=torch.float32))

    def to(self, device):
        return SensorBatch(self.table.to(device))

    def __len__(self):
        return len(self.table)

    def __getitem__(self, index):
        return SensorBatch(self.table[index])

    def __getattr__(self, name):
        """Return a setting as (B, 1, 1), for broadcasting over images."""
        if name not in Sensor._fields:
            raise AttributeError(name)
        return self.table[:, Sensor._fields.index(name), None, None]


def simulate(depth_clean, sensor: SensorBatch, fx_native, pixel_scale, generator=None, hair=None,
             centre=None, chance: Chance | None = None):
    """Simulate the measurements of sensors from rendered depth.

    :param depth_clean: (B, H, W) float32 metres, 0 where nothing is.
    :param fx_native: (B,) focal length of the sensor, native pixels.
    :param pixel_scale: (B,) native pixels per rendered pixel.
    :param generator: a torch.Generator on depth_clean's device, or None for the global one.
    :param hair: (B, H, W) bool, what is hair, or None.
    :param centre: (B, 2) principal point cx, cy of the rendered images; None: their middle.
    :param chance: the random images; None draws them with the generator.
    :returns: (B, H, W) float32 metres in whole depth units, 0 invalid.
    """
    fx_native, scale = (values.to(depth_clean)[:, None, None]
                        for values in (fx_native, pixel_scale))
    centre = None if centre is None else centre.to(depth_clean)
    chance = chance or Chance.draw(RandomImages(depth_clean.shape, depth_clean.device, generator),
                                   sensor, scale, hair is not None)
    return _measured(depth_clean, sensor, fx_native, scale, chance, hair, centre)


class Chance(NamedTuple):
    """The random images (B, H, W) of :func:`simulate`."""

    roughness: torch.Tensor | None  # (B, 1, 1) in 0..1, of hair, if there is any
    locks: torch.Tensor | None  # unit normal
    fattened: torch.Tensor | None  # unit normal and smooth; none if no sensor lets foreground grow
    shift_u: torch.Tensor  # unit normal, as the next
    shift_v: torch.Tensor
    mixed: torch.Tensor  # in 0..1, as the next
    lost: torch.Tensor
    holes: torch.Tensor  # bool
    hair_holes: torch.Tensor | None
    noise: torch.Tensor  # unit normal, alike over the sensor's correlation
    bias: torch.Tensor  # unit normal and smooth

    @classmethod
    def draw(cls, random: RandomImages, sensor: SensorBatch, scale, hair: bool) -> Chance:
        return cls(
            roughness=(rough := random.uniform()[:, :1, :1] if hair else None),
            locks=random.correlated(torch.full_like(rough, 3)) if hair else None,
            fattened=random.smooth(16) if _any_fattens(sensor) else None,
            shift_u=random.normal(), shift_v=random.normal(), mixed=random.uniform(), lost=random.uniform(),
            holes=random.blobs(sensor.hole, 10),
            hair_holes=random.blobs(sensor.hair_hole, 24) if hair else None,
            noise=random.correlated(sensor.correlation / scale), bias=random.smooth(4))


def _measured(depth_clean, sensor: SensorBatch, fx_native, scale, chance: Chance, hair, centre):
    """Return the measurements for this chance. Only tensors are passed, so torch can compile it."""
    clean = torch.where(depth_clean > 0, depth_clean, FAR)
    if hair is not None:  # locks finer than the hair that was rendered
        clean = torch.where(hair, clean + HAIR_ROUGHNESS * chance.roughness * chance.locks, clean)
    slopes = surface_slopes(clean)
    fall = slopes[0].abs() + slopes[1].abs()  # m, from a plane's pixel to the farthest of its neighbours
    incidence = incidence_angle(clean, slopes, fx_native / scale, centre)
    lost = _shadow(clean, sensor.baseline * fx_native / scale)

    z = clean
    if chance.fattened is not None:
        z = _fatten(z, fall, sensor.edge_jump, sensor.fattening / scale, chance.fattened)
    near, far = _extremes(z)
    edge = far - near - 2 * fall > sensor.edge_jump
    smoothing = torch.where(edge, 0, sensor.smoothing / scale.clamp(min=1))
    z = torch.lerp(z, _box_mean(z), smoothing)
    z = _resample(z, sensor.lateral / scale, chance)
    one_side = torch.where(z - near < far - z, near, far)
    mixed = torch.lerp(z, _box_mean(z), chance.mixed)
    z = torch.where(edge, torch.where(sensor.flying < 0.5, one_side, mixed), z)

    steepness = incidence / (torch.pi / 2 - incidence)
    edge_drop = torch.where(edge, sensor.edge_drop / scale.clamp(min=1), 0)
    lost = lost | (chance.lost < _loss_probability(sensor, z, incidence, edge_drop)) | chance.holes
    if hair is not None:
        lost = lost | hair & chance.hair_holes
    lost = lost | (z >= FAR - 1)

    measured = z + range_noise(z, steepness, sensor, fx_native) * chance.noise
    measured = measured + (sensor.offset + sensor.bias * z * chance.bias)
    measured = _quantise_disparity(measured, sensor, fx_native)
    lost = lost | (measured < sensor.min_range) | (measured > sensor.max_range)
    measured = torch.round(measured / sensor.depth_unit) * sensor.depth_unit
    return torch.where(lost, 0, measured)


def fuse(**options) -> None:
    """Let torch.compile make one of the steps of :func:`simulate`: a GPU spends them on memory traffic."""
    global _measured
    _measured = torch.compile(_measured, **options)


def range_noise(z, steepness, sensor: SensorBatch, fx_native):
    """Return the standard deviation along z (B, H, W), metres; the formula stands at `Sensor`.

    :param steepness: t / (pi/2 - t) for the angle of incidence t.
    """
    beyond = z - sensor.noise_knee
    disparity = sensor.disparity_noise / (fx_native * sensor.baseline.abs().clamp(min=1e-3))
    sigma = sensor.noise_base + beyond.clamp(min=0) * sensor.noise_linear
    sigma += beyond ** 2 * sensor.noise_quadratic + z ** 2 * disparity
    # a reading off by more than a centimetre is a hole rather than a measurement
    steep = (sensor.noise_incidence * steepness ** 2 * z.clamp(min=0.1).rsqrt()).clamp(max=0.01)
    return sigma + steep


def surface_slopes(z):
    """Return the change of z per pixel along u and along v, two of (B, H, W), metres.

    Of the two one-sided differences the smaller counts, so an edge is not taken for a slope.
    """
    slopes = []
    for axis in (2, 1):
        step = z.diff(dim=axis)
        first, last = step.narrow(axis, 0, 1), step.narrow(axis, step.shape[axis] - 1, 1)
        backward, forward = torch.cat([first, step], axis), torch.cat([step, last], axis)
        slopes.append(torch.where(backward.abs() < forward.abs(), backward, forward))
    return slopes


def incidence_angle(z, slopes, focal, centre=None):
    """Return the angle (B, H, W), radians, between the viewing ray and the surface normal.

    With slopes (zu, zv) of z over pixels, the normal is (-f zu, -f zv, z + x f zu + y f zv) for
    the ray (x, y, 1), and their product is z.

    :param z: (B, H, W) metres. focal: (B, 1, 1) pixels. centre: (B, 2) pixels or None.
    """
    height, width = z.shape[1:]
    a, b = (focal * slope for slope in slopes)
    if centre is None:
        centre = z.new_tensor([[(width - 1) / 2, (height - 1) / 2]])
    x = (torch.arange(width, device=z.device) - centre[:, 0, None, None]) / focal
    y = (torch.arange(height, device=z.device)[:, None] - centre[:, 1, None, None]) / focal
    along = z + x * a + y * b
    cosine = z * torch.rsqrt((a * a + b * b + along * along) * (x * x + y * y + 1))
    return torch.acos(cosine.clamp(max=1))


def _shadow(z, focal_baseline):
    """Return the pixels hidden from the projector or the second imager: bool (B, H, W).

    A pixel in column u sits in column u - f b / z there. Whatever has a pixel further along the
    row at the same or a lower column is covered by it. For a projector on the left, mirror.
    """
    mirrored = focal_baseline < 0
    z = torch.where(mirrored, z.flip(2), z)
    column = torch.arange(z.shape[2], device=z.device) - focal_baseline.abs() / z
    lowest_after = column[:, :, 1:].flip(2).cummin(2).values.flip(2)
    hidden = functional.pad(column[:, :, :-1] >= lowest_after, (0, 1))
    return torch.where(mirrored, hidden.flip(2), hidden)


def _any_fattens(sensor) -> bool:
    return bool((sensor.fattening > 0).any())


def _fatten(z, fall, edge_jump, radius, smooth):
    """Let foreground grow over its edges by a radius (B, 1, 1) of 0 to 2 pixels: by whole pixels in places.

    A window of a stereo matcher that lies across an edge takes the foreground for all of it. On a
    slope it matches the middle, so inclined surfaces stay in place.
    """
    where = torch.special.ndtr(smooth)  # uniform in 0..1, alike among neighbours
    for ring in (0, 1):
        near, _ = _extremes(z)
        behind = z - near - fall > edge_jump
        z = torch.where(behind & (where < radius - ring), near, z)
    return z


def _extremes(z):
    """Return the minimum and maximum of each 3x3 neighbourhood."""
    padded = functional.pad(z, (1, 1, 1, 1), mode='replicate')
    result = []
    for extreme in (torch.minimum, torch.maximum):
        rows = extreme(extreme(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
        result.append(extreme(extreme(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:]))
    return result


def _box_mean(z):
    padded = functional.pad(z, (1, 1, 1, 1), mode='replicate')
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) * (1 / 9)


def _resample(z, sigma, chance: Chance):
    """Interpolate z bilinearly at each pixel centre plus a normally distributed error."""
    height, width = z.shape[1:]
    shift_u, shift_v = ((sigma * error).clamp(-1, 1) for error in (chance.shift_u, chance.shift_v))
    u = torch.arange(width, device=z.device) + shift_u
    v = torch.arange(height, device=z.device)[:, None] + shift_v
    grid = torch.stack([u * (2 / (width - 1)) - 1, v * (2 / (height - 1)) - 1], -1)
    return functional.grid_sample(z[:, None], grid, padding_mode='border',
                                  align_corners=True)[:, 0]


def _loss_probability(sensor, z, incidence, edge_drop):
    """Return the probability that a pixel has no measurement, per pixel."""
    chance = torch.sigmoid((incidence - sensor.incidence_limit) * 40)  # about 1.5 degrees wide
    chance = torch.maximum(chance, sensor.speckle * z ** 2)
    return torch.maximum(chance, edge_drop)


def _quantise_disparity(z, sensor, fx_native):
    focal_baseline = fx_native * sensor.baseline.abs()
    quantised = (focal_baseline > 0) & (sensor.disparity_step > 0)
    focal_baseline = torch.where(quantised, focal_baseline, 1)
    step = torch.where(quantised, sensor.disparity_step, 1)
    level = torch.round(focal_baseline / (step * z.clamp(min=0.05))).clamp(min=1)
    return torch.where(quantised, focal_baseline / (step * level), z)
