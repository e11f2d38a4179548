# SPDX-License-Identifier: Apache-2.0
"""What to expect before an image is looked at: how networks err, and what lies on faces."""
from __future__ import annotations

import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

EXPECTED_ERRORS_FILE = 'expected_errors.npz'  # beside the networks that it was measured with
POSE = 6  # numbers: rotation vector and translation
# without measurements: errors as large as networks say, and of shapes most of what faces differ by
OF_POSE, OF_SHAPE = 1.0, 0.6


@dataclass(frozen=True, eq=False)
class ExpectedErrors:
    """Errors before alignment, of predictions and of the measured surface; float32.

    An error of a pose goes with one of the shape: a face that is taken for a longer one is taken
    for one that looks up. And what a camera measures of a face is not all skin. Hair, beards,
    glasses and noise that is alike in neighbouring pixels move much of a surface together.
    """

    # (6 + K, 6 + K), lower triangular: times as many independent numbers of one sigma, the errors
    # of a pose in the face frame (rotation vector, translation), in sigmas of the pose network,
    # and of the K modes of shape. Of the first of these, the first rows and columns tell all.
    of_predictions: np.ndarray
    # (F, T) metres: how far a measured surface stands off the T triangles of a face, outwards, in F
    # independent ways, one sigma each
    of_surface: np.ndarray
    share: np.ndarray  # (T,) of what a face tells that each triangle does, about 1

    @classmethod
    def independent(cls, modes: int, triangles: int) -> ExpectedErrors:
        """Where nothing was measured: nothing goes with anything else."""
        size = np.repeat(np.float32([OF_POSE, OF_SHAPE]), [POSE, modes])
        return cls(np.diag(size), np.zeros((0, triangles), np.float32),
                   np.ones(triangles, np.float32))

    def std(self, rotation_std, position_std):
        """One sigma of poses before alignment, rad and m (N,) each, from the pose network's."""
        rotation, position = np.sqrt(np.square(self.of_predictions[:POSE]).sum(axis=1)
                                     .reshape(2, 3).mean(axis=1)).tolist()
        return rotation * rotation_std, position * position_std

    @classmethod
    def load(cls, folder: Path, modes: int, triangles: int) -> ExpectedErrors:
        """What a folder of networks holds for K modes and T triangles; `independent` without.

        :raises ValueError: there is a file, and it is not one of these.
        """
        file = folder / EXPECTED_ERRORS_FILE
        if not file.exists():
            return cls.independent(modes, triangles)
        try:
            with np.load(file) as arrays:
                found = cls(**{name: arrays[name].astype(np.float32) for name in arrays})
            shapes = [array.shape for array in asdict(found).values()]
        except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise ValueError(f'{file} cannot be read ({error}): write it anew with '
                             '`python -m training calibrate`') from error
        expected = [(POSE + modes,) * 2, (shapes[1][0], triangles), (triangles,)]
        if shapes != expected:
            raise ValueError(f'{file} holds arrays of {shapes}: expected {expected}, for {modes} '
                             f'modes and {triangles} triangles; write it anew with '
                             '`python -m training calibrate`')
        return found

    def save(self, folder: Path) -> None:
        """Write it beside the networks."""
        np.savez_compressed(folder / EXPECTED_ERRORS_FILE, **asdict(self))
