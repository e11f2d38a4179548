# SPDX-License-Identifier: Apache-2.0
"""Depth images out of ROS bags, without ROS."""
from depthface_ros.io.bags.recording import BagRecording

__all__ = ['BagRecording']
