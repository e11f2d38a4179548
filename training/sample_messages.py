# SPDX-License-Identifier: Apache-2.0
"""Write depth images and the truth about faces as a ROS 2 bag (mcap), without ROS."""
from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.writer import zstd
from rosbags.typesys import Stores, get_typestore

from depthface_ros.rotations import quaternion_from_rotation
from training.synthesis.cameras import Camera

FRAME = 'camera_depth_optical_frame'
TOPICS = {
    '/camera/depth/image_raw': 'sensor_msgs/msg/Image',
    '/camera/depth/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/ground_truth/tf': 'tf2_msgs/msg/TFMessage',
    '/ground_truth/mesh': 'sensor_msgs/msg/PointCloud2',
}
MESH_STEP = 2.0 ** -16  # m; finer digits of a vertex are noise that does not compress


class BagWriter:
    """A bag of one camera's depth images; a context manager.

    :param folder: is made, and gets FOLDER.mcap and metadata.yaml.
    """

    def __init__(self, folder: Path, camera: Camera):
        self.file = folder / f'{folder.name}.mcap'
        self._camera = camera
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)

    def __enter__(self):
        self._writer.open()
        # Written once and fetched often: compress as well as zstd can.
        self._writer.storage.compressor = partial(zstd.compress, level=19)
        self._topics = {topic: self._writer.add_connection(topic, kind, typestore=self._store)
                        for topic, kind in TOPICS.items()}
        return self

    def __exit__(self, kind, error, traceback):
        self._writer.close()

    def write_frame(self, stamp_ns: int, depth_mm) -> None:
        """A 16UC1 image (H, W) uint16 and its camera_info."""
        header = self._header(stamp_ns, FRAME)
        height, width = depth_mm.shape
        self._write('/camera/depth/image_raw', stamp_ns, header=header, height=height, width=width,
                    encoding='16UC1', is_bigendian=0, step=2 * width,
                    data=depth_mm.astype('<u2').view(np.uint8).ravel())
        fx, fy, cx, cy = (float(value) for value in self._camera[4:8])
        roi = self._message('sensor_msgs/msg/RegionOfInterest', x_offset=0, y_offset=0, height=0,
                            width=0, do_rectify=False)
        self._write('/camera/depth/camera_info', stamp_ns, header=header, height=height,
                    width=width, distortion_model='plumb_bob', d=np.zeros(5),
                    k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1]), r=np.eye(3).ravel(),
                    p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0]), binning_x=0, binning_y=0,
                    roi=roi)

    def write_truth(self, stamp_ns: int, heads, with_meshes: bool) -> None:
        """Poses camera -> truth_K of all heads; and, on request, their meshes in frame truth_K."""
        transforms = []
        for k, head in enumerate(heads):
            pose = head.camera_from_face.astype(float)
            vector, quaternion = (self._message(f'geometry_msgs/msg/{kind}',
                                                **dict(zip('xyzw', map(float, values))))
                                  for kind, values in (
                                      ('Vector3', pose[:3, 3]),
                                      ('Quaternion', quaternion_from_rotation(pose[:3, :3]))))
            transforms.append(self._message(
                'geometry_msgs/msg/TransformStamped', header=self._header(stamp_ns, FRAME),
                child_frame_id=f'truth_{k}', transform=self._message(
                    'geometry_msgs/msg/Transform', translation=vector, rotation=quaternion)))
            if with_meshes:
                self._write_mesh(stamp_ns, f'truth_{k}', head.person.face_vertices)
        self._write('/ground_truth/tf', stamp_ns, transforms=transforms)

    def _write_mesh(self, stamp_ns, frame, vertices):
        vertices = (np.round(vertices / MESH_STEP) * MESH_STEP).astype('<f4')
        fields = [self._message('sensor_msgs/msg/PointField', name=name, offset=4 * i, datatype=7,
                                count=1) for i, name in enumerate('xyz')]
        self._write('/ground_truth/mesh', stamp_ns, header=self._header(stamp_ns, frame), height=1,
                    width=len(vertices), fields=fields, is_bigendian=False, point_step=12,
                    row_step=12 * len(vertices), data=vertices.view(np.uint8).ravel(),
                    is_dense=True)

    def _header(self, stamp_ns, frame):
        stamp = self._message('builtin_interfaces/msg/Time', sec=stamp_ns // 10 ** 9,
                              nanosec=stamp_ns % 10 ** 9)
        return self._message('std_msgs/msg/Header', stamp=stamp, frame_id=frame)

    def _message(self, kind, **values):
        return self._store.types[kind](**values)

    def _write(self, topic, stamp_ns, **values):
        kind = TOPICS[topic]
        data = self._store.serialize_cdr(self._message(kind, **values), kind)
        self._writer.write(self._topics[topic], stamp_ns, data)
