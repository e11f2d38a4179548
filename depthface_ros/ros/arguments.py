# SPDX-License-Identifier: Apache-2.0
"""Mistakes in the node's arguments that ROS ignores without a word."""

from __future__ import annotations

import difflib
from itertools import pairwise

from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from depthface_ros.io.errors import as_line
from depthface_ros.parameter_file import NODE, applies, sections
from depthface_ros.ros.parameters import leaves, old_names, removed_names

PARAMS_FILE = '--params-file'
OTHERS = ('qos_overrides.', 'use_sim_time')  # are declared by rclpy, some of them later


def warn_of_ignored(node: Node, arguments: list[str]) -> None:
    """Warn of parameters, parameter files and arguments that have no effect.

    :param arguments: of the process, the program's name first.
    """
    warn = node.get_logger().warning
    for text in (*_unknown_parameters(node), *_files_for_others(node, arguments),
                 *_stray_arguments(arguments)):
        warn(as_line(text))


def _unknown_parameters(node: Node) -> list[str]:
    known = [name for name, *_ in leaves()]
    accepted = {*known, *old_names(), *removed_names()}
    # rclpy has no public way to list the values given to parameters that are not declared.
    given = getattr(node, '_parameter_overrides', {})
    unknown = [name for name in given
               if name not in accepted and not name.startswith(OTHERS)
               and not node.has_parameter(name)]
    texts = []
    for name in unknown:
        similar = difflib.get_close_matches(name, known, 1)
        meant = f'did you mean {similar[0]}?' if similar else '`ros2 param list` shows all'
        texts.append(f'there is no parameter {name}, so its value has no effect: {meant}')
    return texts


def _files_for_others(node: Node, arguments: list[str]) -> list[str]:
    own = node.get_fully_qualified_name()
    texts = []
    for file in (value for option, value in pairwise(arguments) if option == PARAMS_FILE):
        try:
            found = sections(file)
        except (ValueError, OSError):
            continue  # ROS has read it: its parser knows other forms
        if not any(applies(pattern, own) for pattern in found):
            texts.append(f'{file} holds parameters of {", ".join(found)}, so it has no effect on '
                         f'{own}: call its section {own}, or /** for all nodes')
    return texts


def _stray_arguments(arguments: list[str]) -> list[str]:
    stray = remove_ros_args(arguments)[1:]
    if not stray:
        return []
    return [f'{" ".join(stray)} has no effect: the arguments of a node stand behind --ros-args, '
            f'as in {NODE}_node --ros-args -p engine:=cpu -r depth/image:=/camera/depth; '
            '`camera:=` and others are arguments of `ros2 launch`']
