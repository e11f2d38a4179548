# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 node. Only files in this folder import ROS."""

from depthface_ros.tools import thread_limits  # noqa: F401
