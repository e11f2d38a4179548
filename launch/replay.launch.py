# SPDX-License-Identifier: Apache-2.0
"""Play a bag through the node: `ros2 launch depthface_ros replay.launch.py bag:=my_robot.mcap`.

Takes all arguments of depthface.launch.py as well. Without `camera` and `depth_topic` the one
depth topic of the bag is listened to.
"""

from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetLaunchConfiguration,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events import matches_node_name
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from launch import LaunchDescription

NODE = Path(__file__).resolve().with_name('depthface.launch.py')


def find_topic(context):
    """Set depth_topic to the depth topic of the bag unless the user named a topic or a camera."""
    given = context.launch_configurations
    if given.get('depth_topic') or given.get('camera', 'generic') != 'generic':
        return []
    from depthface_ros.io.bags import BagRecording
    try:
        return [SetLaunchConfiguration('depth_topic',
                                       BagRecording(Path(given['bag'])).topic)]
    except ValueError as error:
        raise RuntimeError(f'{error}; name the topic with depth_topic:=') from error


def play(context):
    """Take the node to active, then play the bag: before, nobody would hear it.

    The node's own autostart could be over before this launch hears of it.
    """
    given = context.launch_configurations
    node = f'/{given.get("namespace", "")}/depthface'.replace('//', '/')
    player = ExecuteProcess(
        cmd=['ros2', 'bag', 'play', given['bag'], '--clock', '100', '--rate', given['rate'],
             *(['--loop'] if given['loop'] == 'true' else [])],
        output='screen',
        on_exit=[] if given.get('rviz') == 'true' else [Shutdown(reason='the bag has ended')])

    def change(transition_id):
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_node_name(node),
                                           transition_id=transition_id))

    return [
        RegisterEventHandler(OnStateTransition(
            start_state='configuring', goal_state='inactive', handle_once=True,
            entities=[change(Transition.TRANSITION_ACTIVATE)])),
        RegisterEventHandler(OnStateTransition(
            goal_state='active', handle_once=True, entities=[player])),
        SetLaunchConfiguration('autostart', 'false'),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(str(NODE))),
        change(Transition.TRANSITION_CONFIGURE)]


def generate_launch_description():
    """What `ros2 launch` runs."""
    return LaunchDescription([
        DeclareLaunchArgument('bag', description='bag to play: a file or a folder'),
        DeclareLaunchArgument('rate', default_value='1.0', description='times real time'),
        DeclareLaunchArgument('loop', default_value='false', choices=['true', 'false'],
                              description='start again at the end'),
        DeclareLaunchArgument('fastdds', default_value='true', choices=['true', 'false'],
                              description='give player and node config/fastdds.xml'),
        DeclareLaunchArgument('use_sim_time', default_value='true', choices=['true', 'false'],
                              description='take the time from the bag'),
        OpaqueFunction(function=find_topic),
        OpaqueFunction(function=play),
    ])
