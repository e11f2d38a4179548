# SPDX-License-Identifier: Apache-2.0
"""Render streams: people move before a room that stands still, and one camera measures them."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from depthface_ros import Intrinsics
from training.synthesis.random_rotations import axis_rotation
from training.synthesis.scene.cameras import Camera
from training.synthesis.scene.hands import with_things
from training.synthesis.scene.random_scene import Scene, build_scene, outline_of
from training.synthesis.scene.rooms import sample_room
from training.synthesis.scene.views import View, render_frame
from training.synthesis.streams.motion import Actor
from training.synthesis.streams.sensor_stream import SensorStream
from training.synthesis.streams.stream import Stream

FIRST_STAMP_NS = 1_700_000_000 * 10 ** 9
ROOM_TIMES = 5  # moments of a script at which the room keeps clear of its people


@dataclass(frozen=True, eq=False)
class Play:
    """The people of a script, what else moves, and for how long.

    things: triangles (T, 3, 3) m, camera frame, at a time in seconds.
    """

    actors: Sequence[Actor]
    seconds: float = 3.0
    things: Callable[[float], list[np.ndarray]] = lambda seconds: []


def render_stream(name: str, script: str, play: Play, camera: Camera, rate: float,
                  distance: float, seed: int) -> Stream:
    """Render a play; one seed gives one stream."""
    room = _room(play, camera, np.random.default_rng([seed, 1]))
    sensor = SensorStream(camera, seed)
    times = np.arange(round(play.seconds * rate)) / rate
    frames = [_frame(play, camera, room, sensor, seconds) for seconds in times]
    images, heads, visible = zip(*frames)
    return Stream(
        name, script, camera.name, camera.family, rate, distance,
        Intrinsics(camera.fx, camera.fy, camera.cx, camera.cy), camera.sensor.depth_unit,
        FIRST_STAMP_NS + np.round(times * 1e9).astype(np.int64), np.stack(images),
        poses=_stacked(heads, lambda head: head.camera_from_face),
        vertices=_stacked(heads, lambda head: head.person.face_vertices),
        expressions=_stacked(heads, lambda head: head.person.expression),
        visible=np.stack(visible).astype(np.float32),
        identities=np.arange(len(play.actors)))


def _stacked(heads, part) -> np.ndarray:
    return np.array([[part(head) for head in row] for row in heads], np.float32)


def _frame(play: Play, camera: Camera, room: View, sensor: SensorStream, seconds: float):
    """Return the measured image, the heads, and the visible fractions of their faces."""
    heads = [actor.at(seconds) for actor in play.actors]
    scene = with_things(build_scene(camera, heads, []), play.things(seconds))
    view = before_room(render_frame(scene), room)
    return sensor(view), heads, view.face_visible * [_in_image(head, camera) for head in heads]


def before_room(view: View, room: View) -> View:
    """Return the view of people with the view of their room behind them."""
    behind = (room.depth > 0) & ((view.depth == 0) | (room.depth < view.depth))
    return view._replace(depth=torch.where(behind, room.depth, view.depth),
                         hair=view.hair & ~behind)


def _room(play: Play, camera: Camera, rng: np.random.Generator) -> View:
    """Render walls and furniture that keep clear of all people at all times."""
    outlines = np.concatenate([outline_of(actor.at(seconds)) for actor in play.actors
                               for seconds in np.linspace(0, play.seconds, ROOM_TIMES)])
    up = np.array([0, -1.0, 0]) @ axis_rotation('xyz', rng.normal(0, 0.1, 3)).T
    return render_frame(_empty(camera, sample_room(rng, up, outlines, clutter=0)))


def _empty(camera: Camera, background: list[np.ndarray]) -> Scene:
    return build_scene(camera, (), background)


def _in_image(head, camera: Camera) -> float:
    """Return the fraction of a face's vertices in the image, whatever is in front of them."""
    x, y, z = head.vertices_camera.T
    u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
    return float(np.mean((z > 0) & (u > 0) & (u < camera.width - 1)
                         & (v > 0) & (v < camera.height - 1)))
