# SPDX-License-Identifier: Apache-2.0
"""Start the node: `python -m depthface_ros.ros`, or `depthface_node`."""

from __future__ import annotations

import sys

from depthface_ros.stop import Stop


def main(args: list[str] | None = None) -> int:
    """Handle signals from now on, then import and run the node; return the exit status."""
    stop = Stop()
    from depthface_ros.ros import node  # the import takes a second
    status = node.main(args, stop)
    stop.finish()
    return status


if __name__ == '__main__':
    sys.exit(main())
