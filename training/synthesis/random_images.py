# SPDX-License-Identifier: Apache-2.0
"""Random images: white, blurred, smooth and blob-like ones, a batch at a time."""
from __future__ import annotations

import torch
from torch.nn import functional


class RandomImages:
    """Draws random (B, H, W) float32 images for one batch.

    :param shape: (B, H, W).
    :param generator: a torch.Generator on the device, or None for the global one.
    """

    def __init__(self, shape, device, generator=None):
        self.shape, self.options = tuple(shape), {'device': device, 'generator': generator}

    def uniform(self):
        """Return independent pixels, uniform in 0..1."""
        return torch.rand(self.shape, **self.options)

    def normal(self, margin=0):
        """Return independent unit normal pixels, with a margin of more pixels around."""
        batch, height, width = self.shape
        return torch.randn(batch, height + 2 * margin, width + 2 * margin, **self.options)

    def smooth(self, cells):
        """Return unit normal images, varying over 1 / cells of the image: random bumps on a grid."""
        down, across = (self._bumps(size, cells) for size in self.shape[1:])
        return down @ torch.randn(self.shape[0], cells, cells, **self.options) @ across.T

    def blobs(self, fraction, cells):
        """Return bool blobs with ragged borders; covers a mean `fraction` (B, 1, 1)."""
        ragged = self.smooth(cells) * 0.96 + self.normal() * 0.28
        return ragged > torch.special.ndtri(1 - fraction)

    def correlated(self, length):
        """Return unit normal images, correlated over about `length` (B, 1, 1) pixels: white, or blurred, or both."""
        white = self.normal(margin=2)
        blurred = white
        for axis in (1, 2):
            size = blurred.shape[axis] - 4
            taps = [blurred.narrow(axis, k, size) for k in range(5)]
            blurred = taps[0] + taps[4] + 4 * (taps[1] + taps[3]) + 6 * taps[2]
        fraction = ((length - 1) / 2.5).clamp(0, 1)
        a, b = 1 - fraction, fraction / 70  # the blur multiplies white noise by 1 + 16 + 36 + 16 + 1
        variance = a * a + fraction * fraction + 2 * a * b * 36  # 36: its weight on the pixel itself
        return (a * white[:, 2:-2, 2:-2] + b * blurred) * variance.rsqrt()

    def _bumps(self, size, cells):
        """Return (size, cells): a Gaussian bump per cell; rows of unit length, so the variance is 1."""
        pixel = torch.linspace(0, cells - 1, size, device=self.options['device'])
        cell = torch.arange(cells, device=self.options['device'])
        return functional.normalize(torch.exp(-(pixel[:, None] - cell) ** 2), dim=1)
