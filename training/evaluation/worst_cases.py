# SPDX-License-Identifier: Apache-2.0
"""A contact sheet of the worst cases: the depth image, the truth, and the estimate."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depthface_ros import Intrinsics
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.tools.overlay import colour_depth, contact_sheet, draw_mesh
from training.evaluation.errors import Record
from training.evaluation.frames import Trial, intrinsics_of, match
from training.evaluation.groups import in_core

WORST = {'turned most': ('geodesic_deg', 8), 'farthest off': ('face_mm', 8)}
MISSED, FALSE = 8, 8
AROUND = 0.17  # m on each side of a face
TILE = 200  # px


def worst_cases_sheet(records: list[Record], trial: Trial, file: Path) -> None:
    """Draw the largest errors, misses and false faces at 0.4-1.5 m and up to 60 degrees of yaw."""
    strips = [strip(record, trial, f'{title}: {record["geodesic_deg"]:.0f} deg '
                    f'{record["face_mm"]:.0f} mm') for title, record in worst(records)]
    strips += [strip(record, trial, 'missed') for record in records
               if in_core(record) and not record['found']][:MISSED]
    false = [record for record in records if not record['real'] and record['distance_m'] < 1.5]
    false.sort(key=lambda record: -record['confidence'])
    strips += [strip(record, trial, f'no face: {record["confidence"]:.2f}')
               for record in false[:FALSE]]
    if strips:
        sheet = contact_sheet(strips, columns=3, tile_height=TILE + 20)
        cv2.imwrite(str(file), sheet)


def worst(records: list[Record]) -> list[tuple[str, Record]]:
    """Return the found faces with the largest errors of each kind, each face once."""
    found = [record for record in records if in_core(record) and record['found']]
    chosen: dict[int, tuple[str, Record]] = {}
    for title, (error, count) in WORST.items():
        left = [record for record in found if id(record) not in chosen]
        for record in sorted(left, key=lambda record: -record[error])[:count]:
            chosen[id(record)] = title, record
    return list(chosen.values())


def strip(record: Record, trial: Trial, title: str) -> np.ndarray:
    """Return depth, truth and estimate side by side, with a title: (TILE + 20, 3 TILE, 3) BGR."""
    scene, _, depth, faces = trial.run(record['frame'])
    if record['real']:
        truth = scene.heads[record['head']]
        number = match(faces, scene.heads).get(record['head'])
        middle = truth.vertices_camera.mean(0)
    else:
        truth, number = None, int(np.argmin([abs(face.confidence - record['confidence'])
                                             for face in faces]))
        middle = faces[number].vertices.mean(0)
    camera, origin, scale = _window(intrinsics_of(scene), middle)
    patch = cv2.warpAffine(depth, np.float32([[scale, 0, -origin[0] * scale],
                                              [0, scale, -origin[1] * scale]]),
                           (TILE, TILE), flags=cv2.INTER_NEAREST)
    seen = colour_depth(patch, camera.fx)
    pictures = [seen, seen.copy(), seen.copy()]
    for picture, vertices in ((pictures[1], truth and truth.vertices_camera),
                              (pictures[2], None if number is None else faces[number].vertices)):
        if vertices is not None:
            draw_mesh(picture, camera, vertices, FaceModel.load().triangles)
    tile = np.pad(np.hstack(pictures), ((20, 0), (0, 0), (0, 0)))
    text = f'{title}, {record["distance_m"]:.1f} m, {record["camera"]}, frame {record["frame"]}'
    cv2.putText(tile, text, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1,
                cv2.LINE_AA)
    return tile


def _window(camera: Intrinsics, middle: np.ndarray) -> tuple[Intrinsics, np.ndarray, float]:
    """Return the camera of a square picture around a point (3,), its first pixel, its magnification."""
    scale = TILE * middle[2] / (2 * AROUND * camera.fx)
    u, v = camera.project(*(middle[:2] / middle[2]))
    origin = np.array([u, v], float) - TILE / 2 / scale
    return (Intrinsics(camera.fx * scale, camera.fy * scale, (camera.cx - origin[0]) * scale,
                       (camera.cy - origin[1]) * scale), origin, scale)
