# SPDX-License-Identifier: Apache-2.0
"""Files of an offline run: poses, meshes, pictures; one small class per kind.

Each has `write(frame, tracks)` for every image, in order, with all public tracks, whether the image
shows them or not, and `close()` for the end.
"""
from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.geometry.normals import vertex_normals
from depthface_ros.geometry.rotations import quaternion_from_rotation, yaw_pitch_roll
from depthface_ros.io.frame import Frame
from depthface_ros.tools.over_time import FaceOverTime, draw_over_time, measured_distances
from depthface_ros.tools.overlay import (
    VideoWriter,
    contact_sheet,
    draw_faces,
    sheet_tile,
)
from depthface_ros.tracking.tracks import Track, in_image

POSE_AXES = ('x', 'y', 'z', 'rx', 'ry', 'rz')  # m, and rad about the axes of the camera frame
# Names of the upper triangle of a covariance, row by row
COVARIANCE = [f'cov_{a}_{b}' for i, a in enumerate(POSE_AXES) for b in POSE_AXES[i:]]
PICTURE_HEIGHT = 360  # px, at least: smaller images are enlarged by an integer
MAX_PICTURE_SIDE, MAX_PICTURE_PIXELS = 2048, 1920 * 1080  # larger images are thinned out


class PoseFile:
    """One row per face and image, as CSV or as a JSON array: metres, radians, camera frame."""

    def __init__(self, file: str | Path, face_model: FaceModel):
        file = Path(file)
        self._face_model, self._is_json, self._rows = face_model, file.suffix == '.json', 0
        self._file = file.open('w', newline='')

    def write(self, frame: Frame, tracks: list[Track]) -> None:
        for track in in_image(tracks, frame.stamp_ns):
            row = self._row(frame, track)
            if self._is_json:
                self._file.write((',\n' if self._rows else '[\n') + json.dumps(row))
            else:
                self._write_csv(row)
            self._rows += 1

    def close(self) -> None:
        if self._is_json:
            self._file.write('\n]\n' if self._rows else '[]\n')
        elif not self._rows:
            self._file.write('stamp,frame,id\r\n')
        self._file.close()

    def _write_csv(self, row: dict) -> None:
        if not self._rows:
            self._csv = csv.DictWriter(self._file, list(row))
            self._csv.writeheader()
        self._csv.writerow(row)

    def _row(self, frame: Frame, track: Track) -> dict:
        pose = track.face.camera_from_face.astype(np.float64)
        yaw, pitch, roll = yaw_pitch_roll(pose)
        numbers = {**dict(zip(('x', 'y', 'z'), pose[:3, 3])),
                   **dict(zip(('qx', 'qy', 'qz', 'qw'), quaternion_from_rotation(pose[:3, :3]))),
                   'yaw': yaw, 'pitch': pitch, 'roll': roll, 'confidence': track.face.confidence,
                   'rotation_std': track.face.rotation_std,
                   'position_std': track.face.position_std,
                   **dict(zip(self._face_model.expression_names, track.face.expression))}
        stamp = f'{frame.stamp_ns // 10 ** 9}.{frame.stamp_ns % 10 ** 9:09d}'
        covariance = track.face.pose_covariance[np.triu_indices(len(POSE_AXES))]
        return {'stamp': stamp, 'frame': frame.name, 'id': track.id,
                **{name: round(float(value), 6) for name, value in numbers.items()},
                **{name: float(f'{value:.4g}') for name, value in zip(COVARIANCE, covariance)}}


class MeshFolder:
    """One binary PLY file per face and image, metres, camera frame."""

    def __init__(self, folder: str | Path, face_model: FaceModel):
        self._folder, self._face_model = Path(folder), face_model
        self._folder.mkdir(parents=True, exist_ok=True)

    def write(self, frame: Frame, tracks: list[Track]) -> None:
        for track in in_image(tracks, frame.stamp_ns):
            write_ply(self._folder / f'{frame.name}_{track.id}.ply', track.face.vertices,
                      self._face_model.triangles)

    def close(self) -> None:
        pass


def write_ply(file: str | Path, vertices: np.ndarray, triangles: np.ndarray) -> None:
    """Write a mesh, vertices (V, 3) and triangles (T, 3), as binary PLY."""
    faces = np.empty(len(triangles), [('count', 'u1'), ('corners', '<i4', 3)])
    faces['count'], faces['corners'] = 3, triangles
    header = (f'ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n'
              'property float x\nproperty float y\nproperty float z\n'
              f'element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n')
    Path(file).write_bytes(header.encode() + vertices.astype('<f4').tobytes() + faces.tobytes())


class OverTime:
    """A picture of each face's mesh after 0.1 s and after 3 s, and of its distance to the image."""

    def __init__(self, file: str | Path, face_model: FaceModel):
        self._file, self._face_model = Path(file), face_model
        self._faces: dict[str, FaceOverTime] = {}

    def write(self, frame: Frame, tracks: list[Track]) -> None:
        for track in in_image(tracks, frame.stamp_ns):
            seconds, pose = frame.stamp_ns * 1e-9, track.face.camera_from_face
            distances = measured_distances(track.face.vertices, self._face_model.triangles,
                                           frame.depth, frame.intrinsics)
            known = np.abs(distances[np.isfinite(distances)])
            face = self._faces.setdefault(track.id, FaceOverTime(track.id, seconds))
            face.add(seconds, (float(1000 * np.median(known)) if len(known) else np.nan,),
                     (track.face.vertices - pose[:3, 3]) @ pose[:3, :3], distances)

    def close(self) -> None:
        if self._faces:
            picture = draw_over_time(list(self._faces.values()), self._face_model, [
                'measured points to mesh, median, mm'], 'distance to the measured points')
            self._file.write_bytes(cv2.imencode('.png', picture)[1].tobytes())


class Pictures:
    """An overlay of each image, in a video, on a contact sheet, or both."""

    def __init__(self, face_model: FaceModel, video: str | Path | None = None,
                 sheet: str | Path | None = None, tiles: int = 24):
        self._face_model, self._video_file = face_model, video
        self._sheet_file = Path(sheet) if sheet else None
        self._video: VideoWriter | None = None
        self._first: tuple[int, np.ndarray] | None = None
        self._thinned = Thinned(tiles)

    def write(self, frame: Frame, tracks: list[Track]) -> None:
        depth, intrinsics, scale = picture_of(frame)
        tracks = in_image(tracks, frame.stamp_ns)
        picture = draw_faces(depth, intrinsics, [track.face for track in tracks],
                             self._face_model, [track.id for track in tracks], scale)
        if self._sheet_file:
            self._thinned.add(sheet_tile(picture))
        if self._video_file:
            self._write_video(frame.stamp_ns, picture)

    def close(self) -> None:
        if self._first is not None and self._video is None:  # a video of one picture
            self._open_video(1.0)
        if self._video is not None:
            self._video.close()
        if self._sheet_file and self._thinned.items:
            picture = contact_sheet(self._thinned.items)
            self._sheet_file.write_bytes(cv2.imencode('.png', picture)[1].tobytes())

    def _write_video(self, stamp_ns: int, picture: np.ndarray) -> None:
        """Write a picture; the first waits for the second, as both stamps give the frame rate."""
        if self._video is not None:
            self._video.write(picture)
        elif self._first is None:
            self._first = stamp_ns, picture
        else:
            step_s = max(stamp_ns - self._first[0], 1) * 1e-9
            self._open_video(float(np.clip(1 / step_s, 1, 60))).write(picture)

    def _open_video(self, fps: float) -> VideoWriter:
        self._video = VideoWriter(self._video_file, fps)
        self._video.write(self._first[1])
        return self._video


def picture_of(frame: Frame) -> tuple[np.ndarray, Intrinsics, int]:
    """Return depth and intrinsics of a frame, thinned out, and the integer scale to draw them at.

    The picture is within `MAX_PICTURE_SIDE` and, unless it was enlarged, `MAX_PICTURE_PIXELS`.
    """
    stride = math.ceil(max(max(frame.depth.shape) / MAX_PICTURE_SIDE,
                           math.sqrt(frame.depth.size / MAX_PICTURE_PIXELS)))
    depth, camera = frame.depth[::stride, ::stride], frame.intrinsics
    if stride > 1:
        camera = replace(camera, **{name: getattr(camera, name) / stride
                                    for name in ('fx', 'fy', 'cx', 'cy')})
    return depth, camera, min(math.ceil(PICTURE_HEIGHT / depth.shape[0]),
                              MAX_PICTURE_SIDE // max(depth.shape))


class Thinned:
    """Keep items of a stream at even distances: `limit` to twice as many."""

    def __init__(self, limit: int):
        self.items: list = []
        self._limit, self._stride, self._seen = limit, 1, 0

    def add(self, item) -> None:
        if self._seen % self._stride == 0:
            self.items.append(item)
        self._seen += 1
        if len(self.items) >= 2 * self._limit:
            self.items, self._stride = self.items[::2], self._stride * 2


class RerunFile:
    """A recording for the rerun viewer: depth images, cameras and meshes in 3D."""

    def __init__(self, file: str | Path, face_model: FaceModel):
        try:
            import rerun
        except ImportError as error:
            raise ValueError(f'{file} needs rerun ({error}): pip install rerun-sdk') from error
        self._rerun, self._face_model, self._shown = rerun, face_model, set()
        self._stream = rerun.RecordingStream('depthface')
        self._stream.save(str(file))
        self._stream.log('camera', rerun.ViewCoordinates.RDF, static=True)

    def write(self, frame: Frame, tracks: list[Track]) -> None:
        rr, camera = self._rerun, frame.intrinsics
        tracks = in_image(tracks, frame.stamp_ns)
        self._stream.set_time('stamp', timestamp=np.datetime64(frame.stamp_ns, 'ns'))
        self._stream.log('camera', rr.Pinhole(
            focal_length=(camera.fx, camera.fy), principal_point=(camera.cx, camera.cy),
            resolution=frame.depth.shape[::-1]))
        meter = 1000.0 if frame.depth.dtype == np.uint16 else 1.0
        self._stream.log('camera/depth', rr.DepthImage(frame.depth, meter=meter))
        for track in tracks:
            self._stream.log(f'faces/{track.id}', rr.Mesh3D(
                vertex_positions=track.face.vertices, triangle_indices=self._face_model.triangles,
                vertex_normals=vertex_normals(track.face.vertices, self._face_model.triangles)))
        seen = {track.id for track in tracks}
        for gone in self._shown - seen:
            self._stream.log(f'faces/{gone}', rr.Clear(recursive=True))
        self._shown = seen

    def close(self) -> None:
        self._stream.disconnect()
