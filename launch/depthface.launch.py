# SPDX-License-Identifier: Apache-2.0
"""Start the node: `ros2 launch depthface_ros depthface.launch.py camera:=realsense`."""

from pathlib import Path

import yaml
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchDescription

CONFIG = Path(__file__).resolve().parents[1] / 'config'
CAMERAS = yaml.safe_load((CONFIG / 'cameras.yaml').read_text())
BOOL = ['true', 'false']

# Name, default, what it means, and the values it takes if they are few.
ARGUMENTS = (
    ('camera', 'generic', 'driver whose topics to listen to, see config/cameras.yaml',
     list(CAMERAS)),
    ('depth_topic', '', "depth image to listen to, raw or compressedDepth; empty: the camera's",
     None),
    ('info_topic', '', 'its camera_info; empty: the one beside depth_topic', None),
    ('image_transport', '', 'raw or compressedDepth; empty: what params_file says',
     ['', 'raw', 'compressedDepth']),
    ('namespace', '', 'namespace of the node', None),
    ('params_file', str(CONFIG / 'depthface.yaml'), 'YAML file with parameters', None),
    ('autostart', 'true', 'configure and activate at start; false leaves that to a manager', BOOL),
    ('use_sim_time', 'false', 'take the time from /clock, of a simulation or `bag play --clock`',
     BOOL),
    ('fastdds', 'false', 'give the node, and what this launch starts later, config/fastdds.xml: '
     'enough shared memory for depth images', BOOL),
    ('rviz', 'false', 'show the faces in RViz', BOOL),
    ('fixed_frame', 'camera_depth_optical_frame', 'frame in which RViz shows them', None),
    ('log_level', 'info', 'least severe messages to print', ['debug', 'info', 'warn', 'error']),
)


def topics(value):
    """The image topic and the camera_info topic that the arguments mean."""
    camera = CAMERAS[value['camera']]
    if not value['depth_topic']:
        return camera['depth_topic'], value['info_topic'] or camera['info_topic']
    folder, slash, _ = value['depth_topic'].removesuffix('/compressedDepth').rpartition('/')
    return value['depth_topic'], value['info_topic'] or f'{folder}{slash}camera_info'


def start(context):
    """The node with its topics, and viewers, when the arguments have values."""
    value = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    depth_topic, info_topic = topics(value)
    transport = value['image_transport']
    actions = []
    if value['fastdds'] == 'true':
        actions += [SetEnvironmentVariable(f'{name}_DEFAULT_PROFILES_FILE',
                                           str(CONFIG / 'fastdds.xml'))
                    for name in ('FASTRTPS', 'FASTDDS')]  # until Jazzy, since Lyrical
    actions.append(LifecycleNode(
        package='depthface_ros', executable='depthface_node', name='depthface',
        namespace=value['namespace'], output='screen',
        # The node takes itself through configure and activate, as `autostart` says.
        parameters=[value['params_file'], {'use_sim_time': value['use_sim_time'] == 'true',
                                           'autostart': value['autostart'] == 'true'},
                    {'image_transport': transport} if transport else {}],
        remappings=[('depth/image', depth_topic), ('depth/camera_info', info_topic)],
        ros_arguments=['--log-level', value['log_level']]))
    if value['rviz'] == 'true':
        actions.append(Node(
            package='rviz2', executable='rviz2', output='screen',
            namespace=value['namespace'],
            arguments=['-d', str(CONFIG / 'depthface.rviz'), '-f', value['fixed_frame']],
            parameters=[{'use_sim_time': value['use_sim_time'] == 'true'}],
            remappings=[('/depth/image', depth_topic), ('/depthface/mesh', 'depthface/mesh')]))
    return actions


def generate_launch_description():
    """What `ros2 launch` runs."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description,
                              **({'choices': choices} if choices else {}))
        for name, default, description, choices in ARGUMENTS]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])
