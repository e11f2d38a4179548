# SPDX-License-Identifier: Apache-2.0
"""Time MediaPipe's face mesh, in an environment of its own.

The picture is scikit-image's astronaut, NASA's portrait of Eileen Collins (public domain).
"""
from __future__ import annotations

import cv2
import mediapipe
import numpy as np
import skimage.data
from bench_process import resident_mb, serve, timed

FACE_MESH = mediapipe.solutions.face_mesh.FaceMesh
# It tracks in a video, and searches each image anew in its mode for unrelated images.
networks = {'tracked': FACE_MESH(static_image_mode=False, max_num_faces=1),
            'searched': FACE_MESH(static_image_mode=True, max_num_faces=1)}


def answer(size: str, way: str, runs: int) -> dict:
    """Time calls on a picture of one face."""
    width, height = map(int, size.split('x'))
    picture = skimage.data.astronaut()
    scale = max(width / picture.shape[1], height / picture.shape[0])
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture = np.ascontiguousarray(picture[:height, :width])
    found = networks[way].process(picture).multi_face_landmarks or []
    return timed(lambda: networks[way].process(picture), runs) | {
        'faces': len(found), 'resident_mb': resident_mb()}


serve(answer)
