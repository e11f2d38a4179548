# SPDX-License-Identifier: Apache-2.0
"""Read the messages of rosbag2 (mcap, sqlite3) and ROS 1 files, damaged or unfinished ones too.

Each reader trusts the storage file alone: `metadata.yaml`, extensions and embedded message
definitions may be wrong or missing.
"""
