# SPDX-License-Identifier: Apache-2.0
"""Draw the face frame, the landmarks and the mesh regions: `python docs/draw_face_model.py`.

Everything comes from the face model that ships. Needs matplotlib.
"""
from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.collections import PolyCollection

from depthface_ros import FaceModel
from depthface_ros.geometry.normals import vertex_normals

IMAGES = Path(__file__).resolve().parent / 'images'
SKIN = np.array((0.93, 0.84, 0.76))
LIGHT = np.array((0.75, 0.25, 0.61))  # direction towards the light, face frame
AXES = {'x': ('#d62728', 0), 'y': ('#2ca02c', 1), 'z': ('#1f77b4', 2)}
# view -> the axes that point right, up and towards the viewer, with their signs
VIEWS = {'front': ((1, 1), (2, 1), (0, 1)), 'left side': ((0, -1), (2, 1), (1, 1))}
AXIS_MM, SCALE_MM = 110, 50


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    model = FaceModel.load()
    for name, draw in (('face_frame', draw_frame), ('landmarks', draw_landmarks),
                       ('mesh_regions', draw_regions)):
        figure = draw(model)
        figure.savefig(IMAGES / f'{name}.png', dpi=100, facecolor='white', metadata={})
        plt.close(figure)


def draw_frame(model: FaceModel) -> plt.Figure:
    """The mesh from the front and from the left, with the axes of the face and gaze frames."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 4.6), layout='constrained')
    for panel, view in zip(panels, VIEWS):
        shade(panel, model, view)
        right, up, _ = VIEWS[view]
        for name, (colour, axis) in AXES.items():
            tip = [AXIS_MM * sign * (index == axis) for index, sign in (right, up)]
            if any(tip):
                panel.annotate('', tip, (0, 0), arrowprops={'arrowstyle': '-|>', 'lw': 2.5,
                                                            'color': colour})
                panel.text(1.1 * tip[0], 1.06 * tip[1], f'{name}', color=colour, fontsize=13,
                           ha='center', va='center', weight='bold')
            else:
                panel.plot(0, 0, 'o', color=colour, ms=9)
                panel.text(6, 9, f'{name} (to the viewer)', color=colour, fontsize=11)
        finish(panel, {'front': 'from the front', 'left side': "from the person's left"}[view])
    figure.suptitle('face_<id>: origin at the sellion')
    return figure


def draw_landmarks(model: FaceModel) -> plt.Figure:
    """The 70 landmarks with their numbers."""
    figure, panel = plt.subplots(figsize=(8.5, 8.2), layout='constrained')
    shade(panel, model, 'front')
    right, up, _ = VIEWS['front']
    points = project(1000 * model.landmarks(model.template), right, up)
    panel.plot(*points.T, 'o', color='#1f4e79', ms=4)
    for number, (x, y) in enumerate(points):
        panel.text(x + 1.2, y + 1.0, str(number), fontsize=7.5, color='#1f4e79')
    finish(panel, 'landmarks: 68 of iBUG, pupils 68 and 69')
    return figure


def draw_regions(model: FaceModel) -> plt.Figure:
    """The regions of the mesh, each in a colour."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 5.0), layout='constrained')
    colours = np.tile(SKIN, (len(model.template), 1))
    palette = plt.get_cmap('tab10').colors
    for colour, (_, vertices) in zip(palette, sorted(model.regions.items())):
        colours[vertices] = colour
    for panel, view in zip(panels, VIEWS):
        shade(panel, model, view, colours)
        finish(panel, {'front': 'from the front', 'left side': "from the person's left"}[view])
    handles = [plt.Line2D([], [], marker='s', ls='', color=colour, label=name)
               for colour, name in zip(palette, sorted(model.regions))]
    figure.legend(handles=handles, loc='outside right center')
    return figure


def shade(panel: plt.Axes, model: FaceModel, view: str, colours: np.ndarray | None = None) -> None:
    """Draw the template, lit, in orthographic projection.

    :param colours: (V, 3) per vertex, in 0..1.
    """
    right, up, (depth, sign) = VIEWS[view]
    vertices, triangles = 1000 * model.template, model.triangles
    normals = vertex_normals(vertices, triangles)[triangles].mean(axis=1)
    towards = sign * vertices[triangles][:, :, depth].mean(axis=1)
    front = np.flatnonzero(sign * normals[:, depth] > 0)
    order = front[np.argsort(towards[front])]
    corners = project(vertices, right, up)[triangles[order]]
    base = SKIN if colours is None else colours[triangles[order]].mean(axis=1)
    lit = base * (0.45 + 0.55 * np.clip(normals[order] @ LIGHT, 0, 1)[:, None])
    panel.add_collection(PolyCollection(corners, facecolors=lit, edgecolors=lit, linewidths=0.3))


def project(points: np.ndarray, right: tuple[int, int], up: tuple[int, int]) -> np.ndarray:
    """Return (N, 2): the axes of a view, each as (index, sign)."""
    return np.stack([sign * points[:, index] for index, sign in (right, up)], axis=-1)


def finish(panel: plt.Axes, title: str) -> None:
    panel.autoscale()
    panel.update_datalim([(-AXIS_MM - 25, -SCALE_MM), (AXIS_MM + 25, AXIS_MM + 15)])
    panel.autoscale_view()
    panel.set_aspect('equal')
    panel.axis('off')
    low = panel.get_ylim()[0] - 2
    panel.plot([-SCALE_MM / 2, SCALE_MM / 2], [low, low], color='black', lw=2)
    panel.text(0, low - 10, f'{SCALE_MM} mm', ha='center', fontsize=9)
    panel.set_title(title, fontsize=11)


if __name__ == '__main__':
    main()
