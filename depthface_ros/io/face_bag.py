# SPDX-License-Identifier: Apache-2.0
"""Write the messages that the node publishes into a bag."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from depthface_ros.face_model.face_frame import face_frames
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.io.bag_writer import BagWriter
from depthface_ros.io.frame import Frame
from depthface_ros.io.marker_template import (
    COLOUR,
    ID,
    LIFETIME,
    NAMESPACE,
    POINT,
    MarkerTemplate,
    marker_id_of,
)
from depthface_ros.tracking.tracks import Track, in_image

TF_TOPIC, MESH_TOPIC = '/tf', '/depthface/mesh'
TOPICS = {TF_TOPIC: 'tf2_msgs/msg/TFMessage', MESH_TOPIC: 'visualization_msgs/msg/Marker'}
TRIANGLE_LIST, ADD, DELETE = 11, 0, 2  # of visualization_msgs/msg/Marker


class FaceBag:
    """Write face_<id> and gaze_<id> on /tf and a mesh marker per face, stamped as the images."""

    def __init__(self, file: str | Path, face_model: FaceModel):
        self._bag = BagWriter(file, TOPICS)
        self._corners = face_model.triangles.reshape(-1)
        self._frame_id: str | None = None
        self._shown: dict[str, str] = {}  # id -> frame of the mesh in viewers

    def write(self, frame: Frame, tracks: list[Track]) -> None:
        stamp_ns = frame.stamp_ns
        seen = in_image(tracks, stamp_ns)
        if seen:
            self._bag.write_message(TF_TOPIC, stamp_ns, transforms=[
                self._bag.transform(stamp_ns, *pose)
                for pose in face_frames(frame.frame_id, seen)])
        for lost in self._shown.keys() - {track.id for track in tracks}:
            self._bag.write(MESH_TOPIC, stamp_ns, self._marker(
                stamp_ns, self._shown.pop(lost), marker_id_of(lost), DELETE))
        if seen and frame.frame_id != self._frame_id:
            self._frame_id = frame.frame_id
            small = self._marker(0, frame.frame_id, ID, ADD, [POINT, POINT])
            self._template = MarkerTemplate(small, len(self._corners))
        for track in seen:
            self._shown[track.id] = frame.frame_id
            self._bag.write(MESH_TOPIC, stamp_ns, self._template.patch(
                *divmod(stamp_ns, 10 ** 9), marker_id_of(track.id),
                track.face.vertices[self._corners]))

    def close(self) -> None:
        self._bag.close()

    def _marker(self, stamp_ns: int, frame_id: str, marker_id: int, action: int,
                points=()) -> bytes:
        bag = self._bag
        pose = bag.message('geometry_msgs/msg/Pose', position=bag.xyz('Point', 0, 0, 0),
                           orientation=bag.xyz('Quaternion', 0, 0, 0, 1))
        lifetime = bag.message('builtin_interfaces/msg/Duration', sec=int(LIFETIME),
                               nanosec=round(LIFETIME % 1 * 1e9))
        no_texture = bag.message('sensor_msgs/msg/CompressedImage', header=bag.header(0, ''),
                                 format='', data=np.zeros(0, np.uint8))
        no_mesh = bag.message('visualization_msgs/msg/MeshFile', filename='',
                              data=np.zeros(0, np.uint8))
        return bag.serialised(
            TOPICS[MESH_TOPIC], header=bag.header(stamp_ns, frame_id), ns=NAMESPACE, id=marker_id,
            type=TRIANGLE_LIST, action=action, pose=pose, scale=bag.xyz('Vector3', 1, 1, 1),
            color=bag.message('std_msgs/msg/ColorRGBA', **COLOUR), lifetime=lifetime,
            frame_locked=False, points=[bag.xyz('Point', *point) for point in points], colors=[],
            texture_resource='', texture=no_texture, uv_coordinates=[], text='', mesh_resource='',
            mesh_file=no_mesh, mesh_use_embedded_materials=False)
