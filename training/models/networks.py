# SPDX-License-Identifier: Apache-2.0
"""The networks: small residual convolutional nets and a set of perceptrons.

TensorRT 8.6 to 11 can build all of them. Batch normalisation folds into the convolutions at export;
every spatial size is static.
"""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthface_ros.engines.contract import DETECTOR_HEIGHT
from depthface_ros.estimation.error_prior import POSE
from depthface_ros.estimation.refinement import (
    EXPRESSIONS,
    FEATURES,
    LOG_STDS,
    MODES,
    POSITION_STD,
    ROTATION_STD,
    mirrored_features,
)
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.face_model.mirror import mirrored_corrections
from depthface_ros.geometry.crop import CROP_PIXELS

WIDTHS = (32, 64, 96, 160)
BLOCKS = (1, 2, 4, 1)
# crop_from_head of a head turned straight to the camera: the start of pose regression
FRONTAL_6D = (0., 0., -1., 1., 0., 0.)


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs), nn.ReLU())


class Residual(nn.Module):
    """Two 3x3 convolutions around a skip connection (He et al. 2016)."""

    def __init__(self, width: int):
        super().__init__()
        self.first = convolution(width, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm.weight)  # a block starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm(self.second(self.first(x))))


def full_precision(x: Tensor) -> torch.autocast:
    """Disable autocast: the 8 bits of bfloat16 would round a pose to a third of a degree."""
    return torch.autocast(x.device.type, enabled=False)


class SurfaceNormals(nn.Module):
    """Unit normals (B, 3, S / 2, S / 2) of the surface in a crop (B, 4, S, S); 0 beside holes.

    Points of a face differ by centimetres in a crop of decimetres; their normals differ by radians.
    """

    def __init__(self):
        super().__init__()
        right = torch.tensor([[0., 0., 0.], [-1., 0., 1.], [0., 0., 0.]])
        # a x b = (ay, az, ax) (bz, bx, by) - (az, ax, ay) (by, bz, bx), a to the right and b down
        factors = [(right, (1, 2, 0)), (right.T, (2, 0, 1)), (right, (2, 0, 1)), (right.T, (1, 2, 0))]
        steps = torch.zeros(12, 3, 3, 3)
        for row, (kernel, axis) in enumerate((kernel, axis) for kernel, axes in factors for axis in axes):
            steps[row, axis] = kernel
        beside = (right.abs() + right.T.abs())[None, None]
        for name, kernel in (('steps', steps), ('beside', beside), ('sum', torch.ones(1, 3, 1, 1))):
            self.register_buffer(name, kernel, persistent=False)

    def forward(self, crop: Tensor) -> Tensor:
        with full_precision(crop):
            measured = F.avg_pool2d(torch.relu(crop[:, 3:]), 2)  # fraction of 2 x 2 pixels
            points = F.avg_pool2d(crop[:, :3], 2) / (measured + 1e-6)
            a, b, c, d = F.conv2d(points, self.steps, padding=1).split(3, dim=1)
            normal = a * b - c * d
            length = torch.sqrt(F.conv2d(normal * normal, self.sum) + 1e-12)
            valid = torch.relu(F.conv2d(measured, self.beside, padding=1) - 3)
            return normal / length * valid


class CropEncoder(nn.Module):
    """Map a crop (B, 4, S, S) to features (B, F). Position matters, so a 3x3 grid is kept to the end."""

    def __init__(self, features: int = 256, widths: tuple[int, ...] = WIDTHS):
        super().__init__()
        self.normals = SurfaceNormals()
        self.stem = convolution(4, widths[0] // 2, stride=2)
        # one convolution of both is equivalent, but runtimes are slow at its 19 channels
        self.of_points = nn.Sequential(*convolution(widths[0] // 2, widths[0], stride=2)[:2])
        self.of_normals = nn.Conv2d(3, widths[0], 3, 2, 1, bias=False)
        layers = []
        for i, (width, blocks) in enumerate(zip(widths, BLOCKS)):
            if i:
                layers.append(convolution(widths[i - 1], width, stride=2))
            layers += [Residual(width) for _ in range(blocks)]
        layers.append(convolution(widths[-1], 64, kernel=1))
        self.layers = nn.Sequential(*layers)
        grid = CROP_PIXELS // 4 // 2 ** (len(widths) - 1)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64 * grid * grid, features), nn.ReLU())

    def forward(self, crop: Tensor) -> Tensor:
        seen = self.of_points(self.stem(crop)) + self.of_normals(self.normals(crop))
        return self.head(self.layers(torch.relu(seen)))


class HeadPoseNet(nn.Module):
    """Map a pose crop to the pose of the face in the crop frame, its variances, and a confidence."""

    outputs = ('rotation', 'sellion', 'log_variance', 'confidence')

    def __init__(self):
        super().__init__()
        self.encoder = CropEncoder()
        self.pose = nn.Linear(256, 9)
        self.log_variance = nn.Linear(256, 2)
        self.confidence = nn.Linear(256, 1)
        nn.init.normal_(self.pose.weight, std=0.01)
        with torch.no_grad():
            self.pose.bias.copy_(torch.tensor((*FRONTAL_6D, 0., 0., -0.5)))
            nn.init.zeros_(self.log_variance.weight)
            self.log_variance.bias.copy_(torch.tensor((-5., -10.)))

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return rotation 6D (B, 6), sellion (B, 3) in half crops, log variances (B, 2), logit (B, 1).

        The 6D rotation is the first two columns of crop_from_head (Zhou et al. 2019).
        """
        features = self.encoder(crop).float()
        with full_precision(features):
            pose = self.pose(features)
            return pose[:, :6], pose[:, 6:], self.log_variance(features), self.confidence(features)


class FaceShapeNet(nn.Module):
    """Map a shape crop to vertex offsets from the template, expression, and a pose correction.

    The offsets are a learnt linear map of few coefficients. Its `basis` is initialised with the
    principal components of training shapes.
    """

    outputs = ('offsets', 'expression', 'residual')
    RESIDUAL_SCALE = 0.05  # rad and m: outputs of the last layer are of order one

    def __init__(self, vertices: int, coefficients: int = 96):
        super().__init__()
        self.encoder = CropEncoder()
        self.coefficients = nn.Linear(256, coefficients)
        self.basis = nn.Linear(coefficients, vertices * 3)
        self.expression = nn.Linear(256, 52)
        self.residual = nn.Linear(256, 6)
        nn.init.normal_(self.residual.weight, std=0.01)
        nn.init.zeros_(self.residual.bias)
        nn.init.constant_(self.expression.bias, -2.)  # most expressions are off most of the time

    def initialise_basis(self, mean: Tensor, components: Tensor) -> None:
        """Initialise with principal components: mean (V*3,), components (K, V*3) of one sigma, m."""
        with torch.no_grad():
            self.basis.bias.copy_(mean)
            self.basis.weight.copy_(components.T)

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return offsets (B, V, 3) m, expression logits (B, 52), residual (B, 6) in rad, then m."""
        return self.decode(self.encoder(crop))

    def decode(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs of :meth:`forward` for the features (B, 256) of a crop."""
        features = features.float()
        with full_precision(features):
            offsets = self.basis(self.coefficients(features))
            return (offsets.reshape(offsets.shape[0], -1, 3), self.expression(features),
                    self.residual(features) * self.RESIDUAL_SCALE)


class FaceRefinerNet(nn.Module):
    """Map the residual of an alignment to a correction of it, to the expression, and to variances.

    A distance at a triangle always refers to the same place of a face, so no convolution is needed.
    Pose, shape and expression have a perceptron each. They share a linear projection of the input,
    which lets them be wide. Each sees the face and its mirror image, and its outputs are averaged,
    so the network is equivariant under mirroring. The variances are relative to those of the pose
    network.
    """

    outputs = ('correction', 'expression', 'log_variance')
    PROJECTION, HIDDEN, EXPRESSION_HIDDEN, DROPOUT = 224, 416, 144, 0.05
    # outputs of the last layer are of order one: rotation, rad; translation, m; sigmas of modes
    SCALE = (0.02,) * 3 + (0.003,) * 3 + (0.3,) * MODES

    def __init__(self):
        super().__init__()
        self.reading = nn.Linear(FEATURES, self.PROJECTION)
        self.pose, self.shape = (self._perceptron(self.HIDDEN, count) for count in (POSE, MODES))
        self.expression = self._perceptron(self.EXPRESSION_HIDDEN, EXPRESSIONS)
        self.doubt = self._last(self.HIDDEN, 2)
        order, signs = mirrored_features()
        for name, values in (('scale', self.SCALE), ('log_std', (math.log(ROTATION_STD), math.log(POSITION_STD))),
                             ('mirror', order), ('mirror_signs', signs),
                             ('correction_signs', mirrored_corrections()),
                             ('expression_mirror', FaceModel.load().expression_mirror)):
            self.register_buffer(name, torch.as_tensor(values), persistent=False)

    def _perceptron(self, hidden: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for inputs in (self.PROJECTION, hidden):
            layers += [nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(self.DROPOUT)]
        return nn.Sequential(*layers, self._last(hidden, outputs))

    def _last(self, hidden: int, outputs: int) -> nn.Linear:
        last = nn.Linear(hidden, outputs)
        nn.init.zeros_(last.weight)  # no correction at the start
        nn.init.zeros_(last.bias)
        return last

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return corrections (B, 6 + K), expression logits (B, 52) and log variances (B, 2).

        :param features: (B, FEATURES), see :mod:`depthface_ros.estimation.refinement`.
        """
        with full_precision(features):
            face = self.reading(features)
            other = self.reading(features.index_select(1, self.mirror) * self.mirror_signs)
            of_pose, of_other = self.pose[:-1](face), self.pose[:-1](other)
            correction = (torch.cat([self.pose[-1](of_pose), self.shape(face)], 1)
                          + torch.cat([self.pose[-1](of_other), self.shape(other)], 1) * self.correction_signs)
            log_variance = 2 * (features[:, LOG_STDS] + self.log_std) + self.doubt(of_pose + of_other)
            expression = self.expression(face) + self.expression(other).index_select(1, self.expression_mirror)
            return (correction * (0.5 * self.scale), features[:, -EXPRESSIONS:] + 0.5 * expression,
                    log_variance)


class HeadDetectorNet(nn.Module):
    """Map a coarse point map of the whole frame to a heat map of heads and offsets to their centres."""

    outputs = ('heatmap', 'offset')

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 96)):
        super().__init__()
        w2, w4, w8, w16 = widths
        self.stem = nn.Sequential(convolution(4, w2, stride=2), convolution(w2, w4, stride=2), Residual(w4))
        self.down8 = nn.Sequential(convolution(w4, w8, stride=2), Residual(w8))
        self.down16 = nn.Sequential(convolution(w8, w16, stride=2), Residual(w16), Residual(w16))
        self.up8 = nn.Sequential(convolution(w16, w8, kernel=1), nn.Upsample(scale_factor=2, mode='nearest'))
        self.up4 = nn.Sequential(Residual(w8), convolution(w8, w4, kernel=1),
                                 nn.Upsample(scale_factor=2, mode='nearest'))
        self.fuse = nn.Sequential(Residual(w4), convolution(w4, w4))
        self.heatmap = nn.Conv2d(w4, 1, 1)
        self.offset = nn.Conv2d(w4, 3, 1)
        nn.init.constant_(self.heatmap.bias, -4.)  # heads are rare: focal loss requires a low prior

    def forward(self, point_map: Tensor) -> tuple[Tensor, Tensor]:
        """Return heat map logits (B, 30, W / 4) and offsets (B, 3, 30, W / 4) m of a map (B, 4, 120, W)."""
        x4 = self.stem(point_map)
        x8 = self.down8(x4)
        x16 = self.down16(x8)
        # 120 / 16 is no integer, so the up-sampled map has one row too many
        y8 = x8 + self.up8(x16)[:, :, :DETECTOR_HEIGHT // 8]
        y4 = self.fuse(x4 + self.up4(y8))
        return self.heatmap(y4)[:, 0], self.offset(y4)
