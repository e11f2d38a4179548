# SPDX-License-Identifier: Apache-2.0
"""Draw the moving picture of the README from the sample recording: `python demo/moving_picture.py`.

Left: the depth image with the axes of each face. Right: the same measured points and the estimated
meshes in 3D, from the side. The recording is synthetic and processed by the node's tracker. Needs
Pillow.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from depthface_ros import FaceEstimator, FaceModel, FaceTracker, Intrinsics
from depthface_ros.estimation.types import Face
from depthface_ros.geometry.camera import depth_in_metres
from depthface_ros.io.bags import BagRecording
from depthface_ros.tools.overlay import AXES, colour_depth, draw_mesh

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT, CAPTION = 480, 360, 34  # px, of one panel and of the line below it
BACKGROUND, INK = (24, 22, 20), (225, 225, 225)  # BGR
AXIS_LENGTH = 0.14  # m
FARTHEST = 1.9  # m; the wall behind is left out of the 3D view
ORBIT_DEG, SWING_DEG, ELEVATION_DEG = 48.0, 10.0, 10.0  # of the virtual camera around the faces
DISTANCE = 1.25  # m from the virtual camera to the faces
LOWER = np.array([0, 0.06, 0])  # m, camera frame: the shoulders are in view
FOCAL = 560.0  # px
POINT_STEP = 1  # in pixels
QUALITY = 55  # of the WebP file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--bag', type=Path, default=ROOT / 'demo' / 'sample.mcap')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs' / 'images' / 'demo.webp')
    options = parser.parse_args()
    pictures, rate = draw_recording(options.bag)
    frames = [Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)) for picture in pictures]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(options.out, save_all=True, append_images=frames[1:], loop=0,
                   duration=round(1000 / rate), quality=QUALITY, method=4)
    print(f'{options.out}: {len(frames)} frames, {options.out.stat().st_size / 1e6:.1f} MB')


def draw_recording(bag: Path) -> tuple[list[np.ndarray], float]:
    """Return the pictures of a recording, BGR, and its images per second."""
    model, tracker = FaceModel.load(), FaceTracker(FaceEstimator('cpu'))
    frames = list(BagRecording(bag))
    tracks = [tracker(frame.depth, frame.intrinsics, frame.stamp_ns) for frame in frames]
    faces = [[track.face for track in found if track.seen] for found in tracks][1:]
    frames = frames[1:]  # tracks are reported from their second image on
    origins = np.concatenate([face.camera_from_face[None, :3, 3] for found in faces
                              for face in found])
    target, pictures = np.median(origins, axis=0) + LOWER, []
    for number, (frame, found) in enumerate(zip(frames, faces)):
        phase = np.sin(2 * np.pi * number / len(frames))
        view = side_view(target, ORBIT_DEG + SWING_DEG * phase)
        pictures.append(np.hstack([
            captioned(depth_panel(frame.depth, frame.intrinsics, found),
                      'in: depth image (synthetic recording)'),
            captioned(side_panel(frame.depth, frame.intrinsics, found, model, view),
                      'out: poses and meshes, seen from the side')]))
    seconds = 1e-9 * (frames[-1].stamp_ns - frames[0].stamp_ns)
    return pictures, (len(frames) - 1) / seconds


def side_view(target: np.ndarray, orbit_deg: float) -> np.ndarray:
    """Return view_from_camera (4, 4) of a camera beside a target (3,), directed at it."""
    yaw, pitch = np.radians([orbit_deg, ELEVATION_DEG])
    about_y = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)],
                        [0, np.sin(pitch), np.cos(pitch)]])
    view_from_camera = np.eye(4)
    view_from_camera[:3, :3] = about_x @ about_y
    view_from_camera[:3, 3] = [0, 0, DISTANCE] - view_from_camera[:3, :3] @ target
    return view_from_camera


def depth_panel(depth: np.ndarray, intrinsics: Intrinsics, faces: list[Face]) -> np.ndarray:
    """Draw the depth image (HEIGHT, WIDTH, 3) with the axes of its faces."""
    picture = colour_depth(depth, intrinsics.fx)
    for face in faces:
        draw_axes(picture, intrinsics, face.camera_from_face)
    return cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def side_panel(depth: np.ndarray, intrinsics: Intrinsics, faces: list[Face], model: FaceModel,
               view_from_camera: np.ndarray) -> np.ndarray:
    """Draw measured points and meshes (HEIGHT, WIDTH, 3) through another camera."""
    camera = Intrinsics(FOCAL, FOCAL, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
    picture = np.full((HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)
    draw_points(picture, camera, moved(view_from_camera, measured_points(depth, intrinsics)))
    views = [view_from_camera @ face.camera_from_face for face in faces]
    for i in sorted(range(len(faces)), key=lambda i: -views[i][2, 3]):
        draw_mesh(picture, camera, moved(view_from_camera, faces[i].vertices), model.triangles)
        draw_axes(picture, camera, views[i])
    return picture


def measured_points(depth: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Return the points (N, 3) of a depth image, metres, camera frame, without the background."""
    v, u = np.mgrid[:depth.shape[0]:POINT_STEP, :depth.shape[1]:POINT_STEP]
    z = depth_in_metres(depth)[v, u]
    x, y = intrinsics.unproject(u, v)
    points = np.stack([x * z, y * z, z], axis=-1)
    return points[(z > 0) & (z < FARTHEST)]


def draw_points(picture: np.ndarray, camera: Intrinsics, points: np.ndarray) -> None:
    """Draw points (N, 3) in place; nearer ones are brighter and hide farther ones."""
    points = points[points[:, 2] > 0.2]
    points = points[np.argsort(-points[:, 2])]
    u, v = camera.project(*(points[:, :2] / points[:, 2:]).T)
    column, row = np.round(u).astype(int), np.round(v).astype(int)
    inside = (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
    light = np.clip(1.9 - 0.7 * points[inside, 2], 0.3, 1.0)
    picture[row[inside], column[inside]] = light[:, None] * np.array((190, 150, 115))


def draw_axes(picture: np.ndarray, camera: Intrinsics, view_from_face: np.ndarray) -> None:
    """Draw the axes of a face frame: x red, y green, z blue; in place."""
    ends = np.vstack([np.zeros(3), AXIS_LENGTH * np.eye(3)])
    points = moved(view_from_face, ends)
    u, v = camera.project(*(points[:, :2] / points[:, 2:]).T)
    pixels = np.round(np.stack([u, v], axis=-1)).astype(int)
    for end, (_, colour) in sorted(zip(range(1, 4), AXES), key=lambda item: -points[item[0], 2]):
        cv2.arrowedLine(picture, pixels[0].tolist(), pixels[end].tolist(), colour, 3, cv2.LINE_AA,
                        tipLength=0.18)


def captioned(picture: np.ndarray, text: str) -> np.ndarray:
    """Return a panel with a line of text below it."""
    strip = np.full((CAPTION, WIDTH, 3), BACKGROUND, np.uint8)
    cv2.putText(strip, text, (10, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.55, INK, 1, cv2.LINE_AA)
    return np.vstack([picture, strip])


def moved(a_from_b: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return points (N, 3) in frame a."""
    return points @ a_from_b[:3, :3].T + a_from_b[:3, 3]


if __name__ == '__main__':
    main()
