# SPDX-License-Identifier: Apache-2.0
"""Messages to arrays and back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from depthface_ros.face_model.face_frame import face_frames, translation_and_quaternion
from depthface_ros.io.depth_encodings import depth_image
from depthface_ros.io.serialised_image import read_image
from depthface_ros.ros.health import HealthConfig, Report
from depthface_ros.tracking.tracks import Track


def deserialised(data: bytes, kind: type):
    """The message that was serialised; ValueError if it was cut off or is another one."""
    try:
        return deserialize_message(data, kind)
    except Exception:  # which ones depends on the middleware
        raise ValueError(f'{len(data)} bytes do not read as {kind.__name__}: expected one whole '
                         'message; was it cut off on its way?') from None


class ImageView(NamedTuple):
    """A sensor_msgs/Image whose pixels are still in the serialised message."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


def received_image(data: bytes) -> ImageView | Image:
    """The image in a serialised message; ValueError if it was cut off or is another message.

    rclpy would copy the pixels twice, which takes 0.3 ms for each 640x480 of them.
    """
    fields = read_image(data)
    if fields is None:
        return deserialised(data, Image)
    (sec, nanosec), frame_id, *rest = fields
    return ImageView(Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=frame_id), *rest)


def depth_from_image(image: ImageView | Image) -> np.ndarray:
    """(H, W) uint16 millimetres or float32 metres, a view of the message where its bytes allow it.

    :raises ValueError: the message is not a depth image.
    """
    return depth_image(image.data, image.encoding, image.height, image.width, image.step,
                       bool(image.is_bigendian))


def nanoseconds(stamp: Time) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def transform(a_from_b: np.ndarray) -> Transform:
    """The message for a rigid transform (4, 4)."""
    return _transform(*translation_and_quaternion(a_from_b))


def face_transforms(header, tracks: list[Track]) -> TFMessage:
    """face_<id> in the frame of the image, and gaze_<id> in face_<id>, for each face (REP-155)."""
    message = TFMessage()
    for parent, child, translation, quaternion in face_frames(header.frame_id, tracks):
        stamped = TransformStamped(child_frame_id=child,
                                   transform=_transform(translation, quaternion))
        stamped.header.stamp = header.stamp
        stamped.header.frame_id = parent
        message.transforms.append(stamped)
    return message


def _transform(translation, quaternion) -> Transform:
    return Transform(translation=Vector3(**dict(zip('xyz', translation))),
                     rotation=Quaternion(**dict(zip('xyzw', quaternion))))


def diagnostics(stamp: Time, node_name: str, state: str, engine: str, report: Report,
                config: HealthConfig) -> DiagnosticArray:
    """The heartbeat on /diagnostics."""
    values = {'state': state, 'engine': engine, 'faces': report.faces}
    values |= {f'{name} rate (Hz)': f'{rate:.1f}' for name, rate in report.rates.items()}
    values |= {f'{name} total': total for name, total in report.totals.items()}
    for name, pair in (('stamp to publish', report.latency_s), ('work', report.work_s)):
        for quantile, value in zip(('p50', 'p95'), pair or ()):
            values[f'{name} {quantile} (ms)'] = f'{value * 1e3:.1f}'
    values['last problem'] = report.last_problem or 'none'
    level, problem = report.verdict(config)
    status = DiagnosticStatus(
        level=bytes([level]), name=f'{node_name}: faces', hardware_id='',
        message=problem or state,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()])
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message
