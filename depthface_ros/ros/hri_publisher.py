# SPDX-License-Identifier: Apache-2.0
"""The topics of REP-155 (ROS4HRI) under /humans/faces. Needs hri_msgs."""

from __future__ import annotations

from typing import NamedTuple

from builtin_interfaces.msg import Time
from hri_msgs.msg import FacialActionUnits, FacialLandmarks, IdsList, NormalizedRegionOfInterest2D
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.type_support import check_for_type_support
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.ros import hri_messages
from depthface_ros.ros.face_messages import image
from depthface_ros.ros.inputs import DepthFrame
from depthface_ros.ros.publishing import create_publisher
from depthface_ros.tracking.tracks import Track, in_image

NAMESPACE = '/humans/faces'  # absolute, as subscribers expect; remapping may change it


class FaceTopics(NamedTuple):
    """The publishers of one face, each named as its topic."""

    roi: Publisher
    landmarks: Publisher
    facs: Publisher
    cropped: Publisher


TYPES = FaceTopics(NormalizedRegionOfInterest2D, FacialLandmarks, FacialActionUnits, Image)


class HriPublisher:
    """Publishes the ids of tracked faces; each face has topics while it is tracked."""

    def __init__(self, node: Node, face_model: FaceModel):
        self._node, self._face_model = node, face_model
        self._faces: dict[str, FaceTopics] = {}  # by id
        self._frame_id = ''
        for kind in TYPES:  # takes 50 ms, too long for the first face
            check_for_type_support(kind)
        self._tracked = self._create(IdsList, 'tracked')

    def publish(self, frame: DepthFrame, tracks: list[Track]) -> None:
        """Publish the ids that are tracked after one image, and the faces that it shows.

        :param tracks: the public ones, visible in the image or not.
        """
        self._frame_id = frame.header.frame_id
        self._publish_ids(frame.header, [track.id for track in tracks])
        for track in in_image(tracks, frame.stamp_ns):
            self._publish_face(self._faces[track.id], frame, track.face)

    def clear(self, stamp: Time) -> None:
        """Publish an empty list of faces."""
        self._publish_ids(Header(stamp=stamp, frame_id=self._frame_id), [])

    def close(self, stamp: Time, patience: Duration) -> None:
        """Publish an empty list of faces, wait for subscribers to receive it, and end."""
        self.clear(stamp)
        self._tracked.wait_for_all_acked(patience)
        self._node.destroy_publisher(self._tracked)

    def _publish_ids(self, header: Header, ids: list[str]) -> None:
        """Publish the ids, after the topics of new ones: a subscriber follows at once."""
        for face_id in ids:
            if face_id not in self._faces:
                self._faces[face_id] = FaceTopics(*(
                    self._create(kind, f'{face_id}/{name}')
                    for name, kind in zip(FaceTopics._fields, TYPES)))
        if self._tracked.get_subscription_count():
            self._tracked.publish(IdsList(header=header, ids=ids))
        for face_id in self._faces.keys() - set(ids):
            for publisher in self._faces.pop(face_id):
                self._node.destroy_publisher(publisher)

    def _create(self, kind: type, topic: str) -> Publisher:
        # Reliable and the newest only, as hri_face_detect does: the readers of libhri request the
        # default of the middleware, and a reliable publisher matches any.
        return create_publisher(self._node, kind, f'{NAMESPACE}/{topic}', 1)

    def _publish_face(self, topics: FaceTopics, frame: DepthFrame, face: Face) -> None:
        """Publish the topics of a face that have subscribers."""
        if topics.roi.get_subscription_count():
            topics.roi.publish(hri_messages.region(frame, face))
        if topics.landmarks.get_subscription_count():
            topics.landmarks.publish(hri_messages.landmarks(
                frame, face, self._face_model.landmarks(face.vertices)))
        if topics.facs.get_subscription_count():
            topics.facs.publish(hri_messages.facs(frame.header, face))
        if topics.cropped.get_subscription_count():
            topics.cropped.publish(image(frame.header, hri_messages.cropped(frame, face)))
