# SPDX-License-Identifier: Apache-2.0
"""Conversions of faces to messages of ROS4HRI (REP-155). Needs hri_msgs."""

from __future__ import annotations

import numpy as np
from hri_msgs.msg import (
    FacialActionUnits,
    FacialLandmarks,
    NormalizedPointOfInterest2D,
    NormalizedRegionOfInterest2D,
)
from std_msgs.msg import Header

from depthface_ros.estimation.types import Face
from depthface_ros.face_model.action_units import action_units
from depthface_ros.geometry.camera import depth_in_metres
from depthface_ros.ros.inputs import DepthFrame

CROPPED_SIZE = 128  # px; the width and height that REP-155 gives
VISIBLE_WITHIN = 0.03  # m; where a pixel measures another depth, the landmark is occluded
PUPILS = [FacialLandmarks.RIGHT_PUPIL, FacialLandmarks.LEFT_PUPIL]


def region(frame: DepthFrame, face: Face) -> NormalizedRegionOfInterest2D:
    """Return the bounding box of a mesh in the image, clipped to the image."""
    corners = np.clip(_box(frame, face), 0.0, 1.0).ravel().tolist()
    return NormalizedRegionOfInterest2D(header=frame.header, c=float(face.confidence),
                                        **dict(zip(('xmin', 'ymin', 'xmax', 'ymax'), corners)))


def landmarks(frame: DepthFrame, face: Face, points: np.ndarray) -> FacialLandmarks:
    """Return the landmarks in the image; landmarks that are not visible have confidence 0.

    Not visible: outside the image, occluded, or without measured depth. Depth never shows pupils;
    they are placed as in eyes that look straight ahead.

    :param points: (70, 3) metres, camera frame.
    """
    height, width = frame.depth.shape
    places = _normalised(frame, points)
    column, row = np.floor(places * (width, height)).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixels = frame.depth[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    seen = inside & (np.abs(depth_in_metres(pixels[None])[0] - points[:, 2]) < VISIBLE_WITHIN)
    seen[PUPILS] = False
    confidence = np.where(seen, face.confidence, 0.0).tolist()
    return FacialLandmarks(
        header=frame.header, height=height, width=width,
        landmarks=[NormalizedPointOfInterest2D(x=x, y=y, c=c)
                   for (x, y), c in zip(np.clip(places, 0.0, 1.0).tolist(), confidence)])


def facs(header: Header, face: Face) -> FacialActionUnits:
    """Return intensities from 0 to 1; action units that are not estimated have confidence 0.

    The confidence is the face's, times the reliability of the coefficients: their explained
    variance at this distance, 0 where the region is not measured.
    """
    intensity = action_units(face.expression)
    confidence = face.confidence * action_units(face.expression_reliability)
    estimated = np.isfinite(intensity)
    return FacialActionUnits(
        header=header, intensity=np.where(estimated, intensity, np.float32(0)),
        confidence=np.where(estimated, confidence, 0).astype(np.float32))


def cropped(frame: DepthFrame, face: Face) -> np.ndarray:
    """Return the depth image in the face's box, scaled to fit a square, centred, padded with 0.

    Pixels are repeated or left out, never averaged, so all its depths were measured.
    """
    shape = frame.depth.shape[::-1]
    box = _box(frame, face) * shape  # px
    step = max((box[1] - box[0]).max() / CROPPED_SIZE, 1e-6)  # px of the image per pixel
    columns, rows = (_sampled(low, high, step, length)
                     for low, high, length in zip(*box, shape))
    result = np.zeros((CROPPED_SIZE, CROPPED_SIZE), frame.depth.dtype)
    result[np.ix_(rows >= 0, columns >= 0)] = frame.depth[
        np.ix_(rows[rows >= 0], columns[columns >= 0])]
    return result


def _sampled(low: float, high: float, step: float, length: int) -> np.ndarray:
    """Return the index of the pixel at each place of a crop; -1 beyond the image or the box."""
    offset = np.arange(CROPPED_SIZE) - (CROPPED_SIZE - 1) / 2
    index = np.floor((low + high) / 2 + offset * step).astype(int)
    return np.where((index > max(-1, low - 1)) & (index < min(length, high)), index, -1)


def _normalised(frame: DepthFrame, points: np.ndarray) -> np.ndarray:
    """Project points (N, 3) to positions (N, 2) in the image, 0 to 1 between its edges."""
    depth = np.maximum(points[:, 2], 0.01)  # a mesh may reach behind the camera
    u, v = frame.intrinsics.project(points[:, 0] / depth, points[:, 1] / depth)
    height, width = frame.depth.shape
    return np.stack([(u + 0.5) / width, (v + 0.5) / height], axis=-1)  # (0, 0) is a pixel's centre


def _box(frame: DepthFrame, face: Face) -> np.ndarray:
    """Return left and top, right and bottom (2, 2) of a mesh, 0 to 1 between the image's edges."""
    places = _normalised(frame, face.vertices)
    return np.stack([places.min(axis=0), places.max(axis=0)])
