# SPDX-License-Identifier: Apache-2.0
"""Pictures of how faces improve: the mesh after 0.1 s beside the mesh after 3 s, and a curve."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.camera import Intrinsics, depth_in_metres
from depthface_ros.geometry.normals import vertex_normals
from depthface_ros.tools.overlay import draw_mesh

EARLY_S, LATE_S = 0.1, 3.0  # s since a face came into view
HEIGHT, MESH_WIDTH, CURVE_WIDTH = 330, 270, 560  # px, of a row and its panels
MARGIN, CAPTION = 46, 30  # px
BACKGROUND, INK, GRID = (24, 22, 20), (225, 225, 225), (70, 66, 62)  # BGR
CURVES = ((110, 200, 255), (255, 170, 90))  # BGR
FULL_COLOUR = 0.004  # m of a distance that has the full colour
GREY, MISSING = (190, 190, 190), (95, 95, 95)  # BGR, of no distance, and of an unknown one
IN_FRONT, BEHIND = (60, 60, 255), (255, 120, 60)  # BGR, of meshes before and behind the surface
VIEW_YAW, VIEW_DISTANCE = 0.45, 0.6  # rad and m from which meshes are drawn
ROWS = 4  # faces in a picture, the longest in view
LEAST_FACING = 0.3  # cosine of the angle to the ray below which no distance is measured
REACH = 0.03  # m; measured points further from a mesh belong to something else


@dataclass
class FaceOverTime:
    """The curves and meshes of one face over time; distances (V,) in m, NaN unknown."""

    name: str
    first_s: float
    seconds: list[float] = field(default_factory=list)
    values: list[tuple[float, ...]] = field(default_factory=list)  # one number a curve
    early: tuple[float, np.ndarray, np.ndarray | None] | None = None  # s, vertices_face, distances
    late: tuple[float, np.ndarray, np.ndarray | None] | None = None

    def add(self, seconds: float, values: tuple[float, ...], vertices_face: np.ndarray | None,
            distances: np.ndarray | None) -> None:
        """Add an image; without a mesh the curve alone goes on."""
        age = seconds - self.first_s
        self.seconds.append(age)
        self.values.append(values)
        if vertices_face is None:
            return
        shown = age, vertices_face, distances
        if self.early is None or self.early[0] < EARLY_S - 1e-3:
            self.early = shown
        if self.late is None or self.late[0] < LATE_S - 1e-3:
            self.late = shown


def measured_distances(vertices: np.ndarray, triangles: np.ndarray, depth: np.ndarray,
                       intrinsics: Intrinsics) -> np.ndarray:
    """Return signed distances (V,), m, along the normals from a mesh to the measured points.

    Positive where the measured point lies outside; NaN where nothing was measured, beyond REACH,
    and where the surface is seen at a slant.

    :param vertices: (V, 3) m, camera frame. depth: (H, W) as FaceEstimator takes it.
    """
    metres, (x, y, z) = depth_in_metres(depth), vertices.T
    u, v = (np.round(pixel).astype(int) for pixel in intrinsics.project(x / z, y / z))
    inside = (z > 0.05) & (u >= 0) & (u < metres.shape[1]) & (v >= 0) & (v < metres.shape[0])
    measured = np.where(inside, metres[np.where(inside, v, 0), np.where(inside, u, 0)], 0)
    rays = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    facing = -(vertex_normals(vertices, triangles) * rays).sum(1)
    along = (z - measured) * np.linalg.norm(vertices, axis=1) / z  # towards the camera
    distances = along * facing
    known = (measured > 0) & (facing > LEAST_FACING) & (np.abs(distances) < REACH)
    return np.where(known, distances, np.nan)


def draw_over_time(faces: Sequence[FaceOverTime], model: FaceModel, curves: Sequence[str],
                   of_meshes: str) -> np.ndarray:
    """Draw a row per face: early mesh, late mesh, curves over the seconds in view; BGR uint8.

    :param curves: what the values are, with units. of_meshes: what the colours show.
    """
    longest = sorted(faces, key=lambda face: -len(face.seconds))[:ROWS]
    rows = [_row(face, model, curves) for face in longest if face.early]
    width = 2 * MESH_WIDTH + CURVE_WIDTH
    legend = np.full((CAPTION, width, 3), BACKGROUND, np.uint8)
    _text(legend, f'{of_meshes}: red = mesh in front, blue = behind, full colour at '
                  f'{1000 * FULL_COLOUR:.0f} mm', (10, 20))
    return np.vstack([*rows, legend])


def _row(face: FaceOverTime, model: FaceModel, curves: Sequence[str]) -> np.ndarray:
    panels = [_mesh_panel(face.name, shown, model) for shown in (face.early, face.late)]
    return np.hstack([*panels, _curve_panel(face, curves)])


def _mesh_panel(name: str, shown: tuple[float, np.ndarray, np.ndarray],
                model: FaceModel) -> np.ndarray:
    seconds, vertices, distances = shown
    panel = np.full((HEIGHT, MESH_WIDTH, 3), BACKGROUND, np.uint8)
    cosine, sine = np.cos(VIEW_YAW), np.sin(VIEW_YAW)
    x, y, z = (vertices - vertices.mean(axis=0)).T
    view = np.stack([cosine * y - sine * x, -z, VIEW_DISTANCE - sine * y - cosine * x], axis=1)
    camera = Intrinsics(760., 760., (MESH_WIDTH - 1) / 2, (HEIGHT + CAPTION - 1) / 2)
    draw_mesh(panel, camera, view, model.triangles, distance_colours(distances))
    size = np.nanmedian(np.abs(distances)) if np.isfinite(distances).any() else np.nan
    _text(panel, f'{name}, {seconds:.1f} s: {1000 * size:.2f} mm', (10, 20))
    return panel


def true_distances(vertices: np.ndarray, truth: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return signed distances (V,), m, along the true normals to the true vertices (V, 3).

    Positive where the truth lies outside the mesh, as in :func:`measured_distances`.
    """
    return ((truth - vertices) * vertex_normals(truth, triangles)).sum(1)


def distance_colours(distances: np.ndarray) -> np.ndarray:
    """Return colours (V, 3), BGR 0..255, of signed distances (V,), m: mesh to measured or true."""
    part = np.clip(distances / FULL_COLOUR, -1, 1)[:, None]
    colours = np.where(part < 0, GREY + (np.array(IN_FRONT) - GREY) * -part,
                       GREY + (np.array(BEHIND) - GREY) * part)
    return np.where(np.isfinite(part), colours, MISSING)


def _curve_panel(face: FaceOverTime, curves: Sequence[str]) -> np.ndarray:
    panel = np.full((HEIGHT, CURVE_WIDTH, 3), BACKGROUND, np.uint8)
    seconds, values = np.array(face.seconds), np.array(face.values)
    right = max(seconds[-1], EARLY_S)
    top = max(1.15 * np.nanquantile(values, 0.98), 0.1) if np.isfinite(values).any() else 1.0
    width, height = CURVE_WIDTH - 2 * MARGIN, HEIGHT - CAPTION - MARGIN

    def pixels(s, value) -> np.ndarray:
        return np.stack([MARGIN + width * np.asarray(s) / right,
                         CAPTION + height * (1 - np.asarray(value) / top)], -1).round().astype(int)

    for value in np.linspace(0, top, 5):
        ends = pixels([0, right], [value, value])
        cv2.line(panel, ends[0].tolist(), ends[1].tolist(), GRID, 1)
        _text(panel, f'{value:.1f}', (6, int(ends[0, 1]) + 4))
    for second in np.arange(0, right + 1e-6, max(1, round(right / 8))):
        _text(panel, f'{second:.0f} s', (int(pixels(second, 0)[0]) - 8, HEIGHT - MARGIN + 20))
    for k, (title, colour) in enumerate(zip(curves, CURVES)):
        known = np.isfinite(values[:, k])
        line = pixels(seconds[known], np.minimum(values[known, k], top))
        cv2.polylines(panel, [line], False, colour, 2, cv2.LINE_AA)
        _text(panel, title, (MARGIN + k * width // 2, 20), colour)
    return panel


def _text(picture: np.ndarray, text: str, place: tuple[int, int], colour=INK) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
