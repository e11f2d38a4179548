# SPDX-License-Identifier: Apache-2.0
"""Read recordings and messages without ROS; write files of results."""
