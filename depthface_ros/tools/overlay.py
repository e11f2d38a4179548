# SPDX-License-Identifier: Apache-2.0
"""Pictures of results: coloured depth with shaded meshes, axes and labels."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.camera import Intrinsics, depth_in_metres
from depthface_ros.geometry.normals import vertex_normals
from depthface_ros.geometry.rotations import yaw_pitch_roll

NEAREST, FARTHEST = 0.3, 5.0  # m; ends of the colour scale, which is logarithmic
AXIS_LENGTH = 0.08  # m
SKIN = np.array((190, 215, 235), np.float32)  # BGR
AXES = (('x', (60, 60, 255)), ('y', (60, 220, 60)), ('z', (255, 120, 60)))  # BGR: red, green, blue
MESH_OPACITY = 0.75
SUBPIXEL = 4  # bits, of OpenCV's drawing coordinates
MIN_VIDEO_SIDE = 16  # px; encoders refuse less
TILE_HEIGHT, MAX_TILE_ASPECT = 240, 4  # px; of a contact sheet


def draw_faces(depth: np.ndarray, intrinsics: Intrinsics, faces: Sequence[Face],
               face_model: FaceModel, labels: Sequence[str] = (), scale: int = 1) -> np.ndarray:
    """Draw faces over their depth image; return (H * scale, W * scale, 3) uint8, BGR.

    :param depth: (H, W) as FaceEstimator takes it.
    :param labels: one per face, such as their ids.
    :param scale: integer enlargement, for images too small to read.
    """
    picture = np.repeat(np.repeat(colour_depth(depth, intrinsics.fx), scale, 0), scale, 1)
    camera = replace(intrinsics, fx=intrinsics.fx * scale, fy=intrinsics.fy * scale,
                     cx=(intrinsics.cx + 0.5) * scale - 0.5,
                     cy=(intrinsics.cy + 0.5) * scale - 0.5)
    order = sorted(range(len(faces)), key=lambda i: -faces[i].camera_from_face[2, 3])
    for i in order:  # far ones first
        draw_mesh(picture, camera, faces[i].vertices, face_model.triangles)
    for i in order:
        _draw_axes(picture, camera, faces[i].camera_from_face)
        _draw_label(picture, camera, faces[i], labels[i] if labels else '')
    return picture


def colour_depth(depth: np.ndarray, focal: float = 525.0) -> np.ndarray:
    """Convert depth (H, W) to BGR (H, W, 3) uint8: near is red, far is blue, invalid is black.

    Slopes are shaded, so that the measured surface of a face shows.

    :param focal: in pixels.
    """
    metres = depth_in_metres(depth)
    place = np.log(np.clip(metres, NEAREST, FARTHEST) / FARTHEST) / np.log(NEAREST / FARTHEST)
    picture = cv2.applyColorMap((20 + 225 * place).astype(np.uint8), cv2.COLORMAP_TURBO)
    smooth = cv2.GaussianBlur(metres, (5, 5), 1.0)
    per_pixel = np.maximum(smooth, 1e-3) / focal  # m across, for one pixel
    slopes = [cv2.Sobel(smooth, cv2.CV_32F, *axes, scale=1 / 8) / per_pixel
              for axes in ((1, 0), (0, 1))]
    shade = 0.25 + 0.75 / np.sqrt(1 + slopes[0] ** 2 + slopes[1] ** 2)
    return (picture * (shade * (metres > 0))[:, :, None]).astype(np.uint8)


def draw_mesh(picture: np.ndarray, intrinsics: Intrinsics, vertices: np.ndarray,
              triangles: np.ndarray, colours: np.ndarray = SKIN) -> None:
    """Paint a translucent mesh, lit from the camera, far triangles first; in place.

    :param colours: BGR, (3,) of all vertices or (V, 3) of each.
    """
    if vertices[:, 2].min() < 0.05:
        return  # nearly behind the camera
    pixels = _pixels(intrinsics, vertices)
    corners = vertices[triangles]  # (T, 3, 3)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    centre = corners.mean(axis=1)
    front = np.flatnonzero((normal * centre).sum(axis=-1) < 0)
    front = front[np.argsort(-centre[front, 2])]
    # lit from the camera, smoothly: by the normals at the corners
    smooth = vertex_normals(vertices, triangles)[triangles[front]].mean(axis=1)
    light = -(smooth * centre[front]).sum(axis=-1) / np.linalg.norm(centre[front], axis=-1)
    own = colours if colours.ndim == 1 else colours[triangles[front]].mean(axis=1)
    painted = (own * (0.15 + 0.85 * np.clip(light, 0, 1)[:, None] ** 2)).tolist()
    low = np.clip(pixels.min(axis=0).astype(int) - 1, 0, None)
    high = np.clip(pixels.max(axis=0).astype(int) + 2, 0, picture.shape[1::-1])
    if (high <= low).any():
        return
    region = picture[low[1]:high[1], low[0]:high[0]]
    layer = region.copy()
    polygons = np.round((pixels - low)[triangles[front]] * 2 ** SUBPIXEL).astype(np.int32)
    for polygon, colour in zip(polygons, painted):
        cv2.fillConvexPoly(layer, polygon, colour, cv2.LINE_8, SUBPIXEL)
    cv2.addWeighted(layer, MESH_OPACITY, region, 1 - MESH_OPACITY, 0, dst=region)


def contact_sheet(pictures: Sequence[np.ndarray], columns: int = 6,
                  tile_height: int = TILE_HEIGHT) -> np.ndarray:
    """Return pictures (H, W, 3) of any sizes in rows, as one picture."""
    tiles = [sheet_tile(picture, tile_height) for picture in pictures]
    width = max(tile.shape[1] for tile in tiles)
    tiles = [np.pad(tile, ((0, tile_height - tile.shape[0] + 2), (0, width - tile.shape[1] + 2),
                           (0, 0))) for tile in tiles]
    columns = min(columns, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i:i + columns]) for i in range(0, len(tiles), columns)])


def sheet_tile(picture: np.ndarray, tile_height: int = TILE_HEIGHT) -> np.ndarray:
    """Return a picture in the size that it has on a contact sheet."""
    return _fitted(picture, MAX_TILE_ASPECT * tile_height, tile_height)


def _fitted(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scale a picture so that it fits into a tile and touches two of its sides."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


class VideoWriter:
    """Write an mp4 file with the size of its first picture."""

    def __init__(self, file: str | Path, fps: float):
        self._file, self._fps, self._writer = str(file), fps, None

    def write(self, picture: np.ndarray) -> None:
        """Append (H, W, 3) uint8 BGR; later pictures are fitted to the size of the first."""
        if self._writer is None:
            # codecs require even numbers
            self._size = tuple(max(MIN_VIDEO_SIDE, side // 2 * 2) for side in picture.shape[1::-1])
            codec = cv2.VideoWriter.fourcc(*'mp4v')
            self._writer = cv2.VideoWriter(self._file, codec, self._fps, self._size)
            if not self._writer.isOpened():
                raise OSError(f'OpenCV cannot write {self._file} of {self._size} pixels: its build '
                              'has no MPEG-4 encoder, or the folder is not writable')
        if picture.shape[1::-1] != self._size:
            picture = self._padded(picture)
        self._writer.write(picture)

    def close(self) -> None:
        """Finish the file; players cannot open it before."""
        if self._writer is not None:
            self._writer.release()

    def _padded(self, picture: np.ndarray) -> np.ndarray:
        """Shrink a picture to the size of the video where it is larger, and pad it."""
        width, height = self._size
        even = picture[:picture.shape[0] // 2 * 2 or 1, :picture.shape[1] // 2 * 2 or 1]
        scale = min(width / even.shape[1], height / even.shape[0])
        fitted = even if 1 <= scale < 2 else _fitted(picture, width, height)
        result = np.zeros((height, width, 3), np.uint8)
        fitted = fitted[:height, :width]
        result[:fitted.shape[0], :fitted.shape[1]] = fitted
        return result


def _pixels(intrinsics: Intrinsics, points: np.ndarray) -> np.ndarray:
    """Project points (N, 3) in front of the camera to pixels (N, 2)."""
    return np.stack(intrinsics.project(*(points[:, :2] / points[:, 2:]).T), axis=-1)


def _draw_axes(picture: np.ndarray, intrinsics: Intrinsics, camera_from_face: np.ndarray) -> None:
    origin = camera_from_face[:3, 3]
    tips = origin + AXIS_LENGTH * camera_from_face[:3, :3].T
    if min(origin[2], tips[:, 2].min()) < 0.05:
        return
    pixels = _pixels(intrinsics, np.vstack([origin, tips])) * 2 ** SUBPIXEL
    start, *ends = np.round(pixels).astype(int).tolist()
    for axis in np.argsort(-tips[:, 2]):
        cv2.line(picture, start, ends[axis], AXES[axis][1], 2, cv2.LINE_AA, SUBPIXEL)


def _draw_label(picture: np.ndarray, intrinsics: Intrinsics, face: Face, label: str) -> None:
    if face.vertices[:, 2].min() < 0.05:
        return
    pixels = _pixels(intrinsics, face.vertices)
    yaw, pitch, roll = np.degrees(yaw_pitch_roll(face.camera_from_face))
    confidence = '' if np.isnan(face.confidence) else f'{face.confidence:.2f}'
    lines = [' '.join(filter(None, (label, confidence, f'{face.camera_from_face[2, 3]:.2f} m'))),
             f'yaw {round(yaw):+d} pitch {round(pitch):+d} roll {round(roll):+d}']
    size = max(0.3, min(0.45, picture.shape[0] / 800))
    x = int(np.clip(pixels[:, 0].min(), 2, max(2, picture.shape[1] - 380 * size)))
    y = int(np.clip(pixels[:, 1].min() - 34 * size, 24 * size, picture.shape[0] - 30 * size))
    for i, line in enumerate(lines):
        for shift, colour in ((1, (0, 0, 0)), (0, (255, 255, 255))):  # a shadow makes it readable
            cv2.putText(picture, line, (x + shift, y + shift + round(i * 32 * size)),
                        cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
