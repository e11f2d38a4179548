# SPDX-License-Identifier: Apache-2.0
"""Build `depthface_ros/models/surface_modes.npz`: smooth displacements of the face mesh.

They are eigenfunctions of the template's Laplacian with cotangent weights (Pinkall and Polthier
1993; Vallet and Levy 2008, 'Spectral geometry processing with manifold harmonics'), from long to
short wavelengths, with a prior standard deviation that falls with the index.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.linalg import eigsh
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.surface import opening_vertices
from depthface_ros.face_model.mesh import FaceModel
from training.synthesis.meshes import triangle_normals

TOTAL_STD = 0.004  # m, root of the summed variances of all modes
DECAY = 0.75  # the standard deviation of mode k falls with k ** -DECAY
# m from ears and outer edge over which displacements fall to zero, so that edges do not fray
TAPER = 0.02
SMOOTHING = 0.006  # m, of the directions of displacements


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--modes', type=int, default=200)
    parser.add_argument('--out', type=Path, default=MODELS_FOLDER / 'surface_modes.npz',
                        metavar='FILE', help='default: %(default)s')


def run(options: argparse.Namespace) -> None:
    model = FaceModel.load()
    wavelength, modes = surface_modes(model, options.modes)
    np.savez_compressed(options.out, displacements_mm=(1000 * modes).astype(np.float16),
                        directions=smooth_normals(model).astype(np.float16))
    print(f'{options.out}: {options.modes} modes with wavelengths from '
          f'{1000 * wavelength[1]:.0f} to {1000 * wavelength[-1]:.0f} mm, '
          f'{options.out.stat().st_size / 1024:.0f} KiB')


def surface_modes(model: FaceModel, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return wavelengths (count,) m and displacements (count, V) m, one sigma each."""
    wavelength, functions = eigenfunctions(model.template.astype(float), model.triangles, count)
    std = np.arange(1, count + 1) ** -DECAY
    std *= TOTAL_STD / np.linalg.norm(std)
    return wavelength, std[:, None] * functions * taper(model)


def eigenfunctions(vertices: np.ndarray, triangles: np.ndarray,
                   count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return wavelengths (count,) m and functions (count, V) of mean square 1 over the area."""
    stiffness, area = cotangent_laplacian(vertices, triangles)
    # a shift below zero keeps the matrix regular, whose first eigenvalue is zero
    shift = -1e-6 * stiffness.diagonal().mean() / area.mean()
    value, function = eigsh(stiffness, k=count, M=diags(area), sigma=shift,
                            v0=np.ones(len(vertices)))
    order = np.argsort(value)
    value, function = value[order].clip(0), function[:, order].T * np.sqrt(area.sum())
    with np.errstate(divide='ignore'):
        return 2 * np.pi / np.sqrt(value), function


def cotangent_laplacian(vertices: np.ndarray,
                        triangles: np.ndarray) -> tuple[csr_matrix, np.ndarray]:
    """Return the stiffness matrix (V, V), and the area (V,) m^2 of each vertex."""
    rows, columns, weights = [], [], []
    for i in range(3):
        first, second, opposite = (triangles[:, (i + j) % 3] for j in range(3))
        a, b = vertices[first] - vertices[opposite], vertices[second] - vertices[opposite]
        cotangent = (a * b).sum(1) / np.linalg.norm(np.cross(a, b), axis=1).clip(1e-12) / 2
        rows += [first, second]
        columns += [second, first]
        weights += [cotangent, cotangent]
    size = len(vertices)
    adjacency = coo_matrix((np.concatenate(weights), (
        np.concatenate(rows), np.concatenate(columns))), shape=(size, size)).tocsr()
    area = np.linalg.norm(triangle_normals(vertices, triangles), axis=1) / 2
    of_vertices = np.bincount(triangles.ravel(), np.repeat(area / 3, 3), size)
    return diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency, of_vertices


def taper(model: FaceModel) -> np.ndarray:
    """Return the factors (V,) of displacements: 0 at ears and outer edge, 1 in the inner face."""
    edge = opening_vertices(model)
    inner = np.concatenate([model.regions[name] for name in ('lids', 'mouth')])
    outer = np.concatenate([np.setdiff1d(edge, inner), model.regions['ears']])
    distance, _ = cKDTree(model.template[outer]).query(model.template)
    x = np.clip(distance / TAPER, 0, 1)
    return x * x * (3 - 2 * x)


def smooth_normals(model: FaceModel) -> np.ndarray:
    """Return the directions (V, 3) of displacements: normals averaged over SMOOTHING.

    At the rims of lips and lids the normals themselves point into the openings.
    """
    area = triangle_normals(model.template, model.triangles)
    distance = cdist(model.template, model.template[model.triangles].mean(1))
    summed = np.exp(-np.square(distance / SMOOTHING) / 2) @ area
    return summed / np.linalg.norm(summed, axis=1, keepdims=True)
