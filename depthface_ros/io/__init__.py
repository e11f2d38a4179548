# SPDX-License-Identifier: Apache-2.0
"""Recordings, messages without ROS, and files that are written."""
