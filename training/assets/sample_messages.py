# SPDX-License-Identifier: Apache-2.0
"""Write depth images and true faces as a ROS 2 bag (mcap), without ROS."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from depthface_ros.face_model.face_frame import translation_and_quaternion
from depthface_ros.io.bag_writer import BagWriter
from training.synthesis.scene.cameras import Camera

FRAME = 'camera_depth_optical_frame'
TOPICS = {
    '/camera/depth/image_raw': 'sensor_msgs/msg/Image',
    '/camera/depth/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/ground_truth/tf': 'tf2_msgs/msg/TFMessage',
    '/ground_truth/mesh': 'sensor_msgs/msg/PointCloud2',
}
MESH_STEP = 2.0 ** -16  # m; finer digits of a vertex are noise that does not compress


class SampleBag(BagWriter):
    """A bag with the depth images of one camera and the true faces; a context manager."""

    def __init__(self, file: Path, camera: Camera):
        # Written once and fetched often, so compressed at the highest level of zstd.
        super().__init__(file, TOPICS, level=19)
        self._camera = camera

    def write_frame(self, stamp_ns: int, depth_mm) -> None:
        """Write a 16UC1 image (H, W) uint16 and its camera_info."""
        header = self.header(stamp_ns, FRAME)
        height, width = depth_mm.shape
        self.write_message('/camera/depth/image_raw', stamp_ns, header=header, height=height,
                           width=width, encoding='16UC1', is_bigendian=0, step=2 * width,
                           data=depth_mm.astype('<u2').view(np.uint8).ravel())
        fx, fy, cx, cy = (float(value) for value in self._camera[4:8])
        roi = self.message('sensor_msgs/msg/RegionOfInterest', x_offset=0, y_offset=0, height=0,
                           width=0, do_rectify=False)
        self.write_message('/camera/depth/camera_info', stamp_ns, header=header, height=height,
                           width=width, distortion_model='plumb_bob', d=np.zeros(5),
                           k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1]), r=np.eye(3).ravel(),
                           p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0]), binning_x=0,
                           binning_y=0, roi=roi)

    def write_truth(self, stamp_ns: int, heads, with_meshes: bool) -> None:
        """Write the poses camera -> truth_K of all heads and, on request, their meshes in frame truth_K."""
        self.write_message('/ground_truth/tf', stamp_ns, transforms=[
            self.transform(stamp_ns, FRAME, f'truth_{k}',
                           *translation_and_quaternion(head.camera_from_face))
            for k, head in enumerate(heads)])
        if with_meshes:
            for k, head in enumerate(heads):
                self._write_mesh(stamp_ns, f'truth_{k}', head.person.face_vertices)

    def _write_mesh(self, stamp_ns, frame, vertices):
        vertices = (np.round(vertices / MESH_STEP) * MESH_STEP).astype('<f4')
        fields = [self.message('sensor_msgs/msg/PointField', name=name, offset=4 * i, datatype=7,
                               count=1) for i, name in enumerate('xyz')]
        self.write_message('/ground_truth/mesh', stamp_ns, header=self.header(stamp_ns, frame),
                           height=1, width=len(vertices), fields=fields, is_bigendian=False,
                           point_step=12, row_step=12 * len(vertices),
                           data=vertices.view(np.uint8).ravel(), is_dense=True)
