# SPDX-License-Identifier: Apache-2.0
"""Conversions of messages to arrays and back."""

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
from depthface_ros.tracking.stamps import is_valid_stamp
from depthface_ros.tracking.tracks import Track


def deserialised(data: bytes, kind: type):
    """Return a deserialised message; raise ValueError if it was cut off or is another one."""
    try:
        return deserialize_message(data, kind)
    except Exception:  # the type depends on the middleware
        raise ValueError(f'{len(data)} bytes do not read as {kind.__name__}: expected one whole '
                         'message; was it cut off on its way?') from None


SECOND = 1_000_000_000  # ns


class ImageView(NamedTuple):
    """A sensor_msgs/Image whose pixels lie in the serialised message."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


def received_image(data: bytes) -> ImageView | Image:
    """Return the image in a serialised message without a copy of its pixels.

    :raises ValueError: the message was cut off or is another one.
    """
    fields = read_image(data)
    if fields is None:
        return deserialised(data, Image)
    (sec, nanosec), frame_id, *rest = fields
    return ImageView(Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=frame_id), *rest)


def depth_from_image(image: ImageView | Image, unit_m: float | None = None) -> np.ndarray:
    """Return depth (H, W), uint16 millimetres or float32 metres, a view where bytes allow it.

    :param unit_m: metres per unit of the pixels, if it differs from the encoding's.
    :raises ValueError: the message is not a depth image.
    """
    return depth_image(image.data, image.encoding, image.height, image.width, image.step,
                       bool(image.is_bigendian), unit_m)


def nanoseconds(stamp: Time) -> int:
    """Return a time as an integer."""
    return stamp.sec * SECOND + stamp.nanosec


def valid_nanoseconds(stamp: Time) -> int | None:
    """Return a time as an integer, or None for one that was not set or cannot be a time."""
    return nanoseconds(stamp) if is_valid_stamp(stamp) else None


def time_message(nanoseconds: int) -> Time:
    """Return the message for a time >= 0."""
    return Time(sec=nanoseconds // SECOND, nanosec=nanoseconds % SECOND)


def transform(a_from_b: np.ndarray) -> Transform:
    """Return the message for a rigid transform (4, 4)."""
    return _transform(*translation_and_quaternion(a_from_b))


def face_transforms(header, tracks: list[Track]) -> TFMessage:
    """Return face_<id> in the frame of the image and gaze_<id> in face_<id> (REP-155)."""
    message = TFMessage()
    for parent, child, translation, quaternion in face_frames(header.frame_id, tracks):
        stamped = TransformStamped(child_frame_id=child,
                                   transform=_transform(translation, quaternion))
        stamped.header.stamp = header.stamp
        stamped.header.frame_id = parent
        message.transforms.append(stamped)
    return message


def frame_and_stamp(transform: TransformStamped) -> tuple[str, int]:
    """Return the child frame and the stamp in nanoseconds, which identify a transform."""
    return transform.child_frame_id, nanoseconds(transform.header.stamp)


def _transform(translation, quaternion) -> Transform:
    return Transform(translation=Vector3(**dict(zip('xyz', translation))),
                     rotation=Quaternion(**dict(zip('xyzw', quaternion))))


def diagnostics(stamp: Time, node_name: str, state: str, engine: str, report: Report,
                config: HealthConfig) -> DiagnosticArray:
    """Return the heartbeat for /diagnostics."""
    values = {'state': state, 'engine': engine, 'faces': report.faces}
    values |= {f'{name} rate (Hz)': f'{rate:.1f}' for name, rate in report.rates.items()}
    values |= {f'{name} total': total for name, total in report.totals.items()}
    for name, pair in (('stamp to publish', report.latency_s), ('work', report.work_s)):
        for quantile, value in zip(('p50', 'p95'), pair or ()):
            values[f'{name} {quantile} (ms)'] = f'{value * 1e3:.1f}'
    values['time of images'] = report.time_source
    values['last problem'] = report.last_problem or 'none'
    level, problem = report.verdict(config)
    status = DiagnosticStatus(
        level=bytes([level]), name=f'{node_name}: faces', hardware_id=report.camera or node_name,
        message=problem or state,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()])
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message
