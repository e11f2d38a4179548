# SPDX-License-Identifier: Apache-2.0
"""The prior of the alignment: errors of the networks, and offsets of the measured surface."""
from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from depthface_ros.io.errors import one_line
from depthface_ros.io.npz_files import read_arrays

ERROR_PRIOR_FILE = 'error_prior.npz'  # lies beside the networks that it was measured with
POSE = 6  # parameters: rotation vector and translation
# One sigma where nothing was measured: as the pose network predicts it, and of most faces' shapes.
DEFAULT_POSE_STD, DEFAULT_MODE_STD = 1.0, 0.6


@dataclass(frozen=True, eq=False)
class ErrorPrior:
    """Joint distribution of the errors before the alignment; arrays are float32.

    Errors of pose and shape are correlated: a face that is predicted too long is predicted to look
    up. The measured surface is not all skin: hair, beards, glasses and correlated sensor noise move
    large parts of it together.
    """

    # (6 + K, 6 + K), the lower triangular Cholesky factor of the covariance of the errors of pose
    # (rotation vector, translation; face frame; in sigmas of the pose network) and of the K modes
    error_cholesky: np.ndarray
    # (F, T) metres, loadings of F independent factors: offsets of the measured surface, outwards
    surface_loadings: np.ndarray
    triangle_information: np.ndarray  # (T,) relative weight of each triangle, of mean 1

    @classmethod
    def independent(cls, modes: int, triangles: int) -> ErrorPrior:
        """Return the default prior, without correlations, of K modes and T triangles."""
        std = np.repeat(np.float32([DEFAULT_POSE_STD, DEFAULT_MODE_STD]), [POSE, modes])
        return cls(np.diag(std), np.zeros((0, triangles), np.float32),
                   np.ones(triangles, np.float32))

    def std(self, rotation_std, position_std):
        """Return one sigma of unaligned poses, rad and m (N,) each, from the pose network's."""
        rotation, position = np.sqrt(np.square(self.error_cholesky[:POSE]).sum(axis=1)
                                     .reshape(2, 3).mean(axis=1)).tolist()
        return rotation * rotation_std, position * position_std

    @classmethod
    def load(cls, folder: Path, modes: int, triangles: int) -> ErrorPrior:
        """Load the prior of a folder of networks, or return the default one if it holds none.

        :raises ValueError: the file cannot be read, or is not for K modes and T triangles.
        """
        file = Path(folder) / ERROR_PRIOR_FILE
        if not file.exists():
            return cls.independent(modes, triangles)
        try:
            prior = cls(**{name: array.astype(np.float32)
                           for name, array in read_arrays(file).items()})
            shapes = [array.shape for array in asdict(prior).values()]
            expected = [(POSE + modes,) * 2, (shapes[1][0], triangles), (triangles,)]
            finite = all(np.isfinite(array).all() for array in asdict(prior).values())
        except Exception as error:  # of zip, zlib, numpy and others
            raise ValueError(f'{file} cannot be read ({one_line(error)}): write it anew with '
                             '`python -m training calibrate`') from error
        if not finite:
            raise ValueError(f'{file} holds NaN or infinity: write it anew with '
                             '`python -m training calibrate`')
        if shapes != expected:
            raise ValueError(f'{file} holds arrays of {shapes}: expected {expected}, for {modes} '
                             f'modes and {triangles} triangles; write it anew with '
                             '`python -m training calibrate`')
        return prior

    def save(self, folder: Path) -> None:
        """Write the prior to a folder of networks."""
        np.savez_compressed(folder / ERROR_PRIOR_FILE, **asdict(self))
