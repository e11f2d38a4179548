# SPDX-License-Identifier: Apache-2.0
"""A depth camera over a stream: some of its errors are new in each image, the others stay."""
from __future__ import annotations

import numpy as np
import torch

from training.synthesis.random_images import RandomImages
from training.synthesis.scene.cameras import Camera
from training.synthesis.scene.views import View
from training.synthesis.sensors import Chance, SensorBatch, simulate

# Fraction of the noise's variance that stays at its pixel. The pattern of projectors is fixed, so
# much of the noise of triangulation repeats; time of flight has mostly shot noise.
LASTING = {'structured_light': 0.4, 'active_stereo': 0.4, 'time_of_flight': 0.15}


class SensorStream:
    """Measures the images of one stream.

    The smooth bias, holes, fattened edges and the roughness of hair stay in place, as does a part
    of the noise. The offset of the sensor is a setting and stays anyway. The rest is new.
    """

    def __init__(self, camera: Camera, seed: int):
        """Draw the errors that stay."""
        self._camera = camera
        self._sensor = SensorBatch.stack([camera.sensor])
        self._generator = torch.Generator().manual_seed(seed)
        self._stays = self._draw()

    def __call__(self, view: View) -> np.ndarray:
        """Return the measured image (H, W) uint16, in the sensor's depth units; 0 invalid."""
        new, stays = self._draw(), self._stays
        fraction = LASTING[self._camera.family]
        chance = stays._replace(
            noise=(1 - fraction) ** 0.5 * new.noise + fraction ** 0.5 * stays.noise,
            shift_u=new.shift_u, shift_v=new.shift_v, mixed=new.mixed, lost=new.lost)
        depth = simulate(view.depth[None], self._sensor, torch.tensor([view.fx_native]),
                         torch.tensor([view.pixel_scale]), hair=view.hair[None],
                         centre=torch.tensor([[view.cx, view.cy]]), chance=chance)[0]
        return (depth / self._camera.sensor.depth_unit).round().numpy().astype(np.uint16)

    def _draw(self) -> Chance:
        shape = (1, self._camera.height, self._camera.width)
        return Chance.draw(RandomImages(shape, 'cpu', self._generator), self._sensor,
                           torch.ones(1, 1, 1), hair=True)
