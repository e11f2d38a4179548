# SPDX-License-Identifier: Apache-2.0
"""Start the node: `python -m depthface_ros.ros`, or `depthface_node`."""

from __future__ import annotations

import sys

from depthface_ros.stop import Stop

HELP = """usage: depthface_node [--ros-args [-p NAME:=VALUE] [--params-file FILE] [-r FROM:=TO] ...]

Subscribes to depth/image and depth/camera_info; -r gives them other names:
  depthface_node --ros-args -r depth/image:=/camera/depth -r depth/camera_info:=/camera/info
Parameters are described in config/depthface.yaml and by `ros2 param describe`.
`ros2 launch depthface_ros depthface.launch.py --show-args` lists simpler arguments."""


def main(args: list[str] | None = None) -> int:
    """Handle signals from now on, then import and run the node; return the exit status."""
    if {'-h', '--help'} & {*(sys.argv if args is None else args)}:
        print(HELP)
        return 0
    stop = Stop()
    from depthface_ros.ros import node  # the import takes a second
    status = node.main(args, stop)
    stop.finish()
    return status


if __name__ == '__main__':
    sys.exit(main())
