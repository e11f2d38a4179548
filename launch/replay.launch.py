# SPDX-License-Identifier: Apache-2.0
"""Play a bag through the node: `ros2 launch depthface_ros replay.launch.py bag:=my_robot.mcap`.

Takes all arguments of depthface.launch.py as well. Without `camera` and `depth_topic` the node
subscribes to the one depth topic of the bag and to the camera_info nearest to it in name. Topics
that a face node published during the recording are not played.
"""

import re
import runpy
import sys
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
NODE_LAUNCH = runpy.run_path(str(NODE))


def find_topics(context):
    """Set the topics of image and camera_info to those of the bag, as far as none are named."""
    given = context.launch_configurations
    named = given.get('depth_topic')
    if given.get('camera', 'generic') != 'generic' or (named and not named.startswith('/')):
        return []
    from depthface_ros.io.bags import BagRecording
    bag = Path(given['bag']).expanduser()
    if not bag.exists():
        raise RuntimeError(f'bag:={bag} does not exist')
    try:
        recording = BagRecording(bag, topic=named, info_topic=given.get('info_topic'))
    except (ValueError, OSError) as error:
        raise RuntimeError(re.sub('--(info-)?topic', lambda option: (
            'info_topic:=' if option[1] else 'depth_topic:='), str(error))) from error
    return [SetLaunchConfiguration('depth_topic', recording.topic),
            SetLaunchConfiguration('info_topic', recording.info_topic)]


def player(context):
    """Return the player, paused, and the program that resumes it once the node is subscribed."""
    from depthface_ros.io.bags.playback import playback
    given = context.launch_configurations
    bag = Path(given['bag']).expanduser()
    plan = playback(bag)
    depth_topic, _ = NODE_LAUNCH['topics'](given)
    play = ExecuteProcess(
        cmd=['ros2', 'bag', 'play', str(bag), '--start-paused', '--disable-keyboard-controls',
             '--clock', '100', '--rate', given['rate'],
             *(['--loop'] if given['loop'].lower() == 'true' else []),
             '--topics', *plan.topics, *plan.remaps],
        output='screen', on_exit=after_the_bag)
    resume = ExecuteProcess(
        cmd=[sys.executable, '-m', 'depthface_ros.ros.replay', '--namespace', given['namespace'],
             '--topic', depth_topic, *(['--relay-tf'] if plan.remaps else [])],
        output='screen', on_exit=after_the_companion)
    return [play, resume]


def after_the_bag(event, context):
    """End the launch with the bag, unless it is ending already or RViz still shows the faces."""
    if context.is_shutdown or context.launch_configurations['rviz'].lower() == 'true':
        return []
    return [Shutdown(reason='the bag has ended')]


def after_the_companion(event, context):
    """End the launch if the player could not be resumed: it would stay paused for ever."""
    if context.is_shutdown or not event.returncode:
        return []
    return [Shutdown(reason='the player could not be resumed')]


def play(context):
    """Activate the node, then start the player: an inactive node receives nothing.

    The node's own autostart could end before this launch receives its events.
    """
    given = context.launch_configurations
    node = f'/{given["namespace"]}/depthface'.replace('//', '/')

    def change(transition_id):
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_node_name(node),
                                           transition_id=transition_id))

    return [
        RegisterEventHandler(OnStateTransition(
            start_state='configuring', goal_state='inactive', handle_once=True,
            entities=[change(Transition.TRANSITION_ACTIVATE)])),
        RegisterEventHandler(OnStateTransition(
            goal_state='active', handle_once=True, entities=player(context))),
        SetLaunchConfiguration('autostart', 'false'),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(str(NODE))),
        change(Transition.TRANSITION_CONFIGURE)]


def generate_launch_description():
    """Return the description that `ros2 launch` runs."""
    return LaunchDescription([
        DeclareLaunchArgument('bag', description='bag to play: a file or a folder'),
        DeclareLaunchArgument('rate', default_value='1.0', description='times real time'),
        DeclareLaunchArgument('loop', default_value='false', choices=NODE_LAUNCH['BOOL'],
                              description='start again at the end'),
        *NODE_LAUNCH['declared'](fastdds='true', use_sim_time='true'),
        OpaqueFunction(function=find_topics),
        OpaqueFunction(function=play),
    ])
