# SPDX-License-Identifier: Apache-2.0
"""Start the node: `ros2 launch depthface_ros depthface.launch.py camera:=realsense`."""

import re
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchDescription

CONFIG = Path(__file__).resolve().parents[1] / 'config'
CAMERAS = yaml.safe_load((CONFIG / 'cameras.yaml').read_text())
FRAME = 'camera_depth_optical_frame'  # of most drivers
BOOL = ['true', 'false', 'True', 'False']

# Name, default, description, and the values if they are few.
ARGUMENTS = (
    ('camera', 'generic', 'driver whose topics to subscribe to, see config/cameras.yaml',
     list(CAMERAS)),
    ('depth_topic', '', "depth image, raw or compressed; empty: that of the camera", None),
    ('info_topic', '', 'its camera_info; empty: the one beside depth_topic', None),
    ('image_transport', '', 'raw, compressedDepth or compressed; empty: as in params_file',
     ['', 'raw', 'compressedDepth', 'compressed']),
    ('engine', '', 'runtime of the networks; empty: as in params_file', None),
    ('models_folder', '', 'folder of the networks; empty: as in params_file', None),
    ('namespace', '', 'namespace of the node', None),
    ('params_file', str(CONFIG / 'depthface.yaml'), 'YAML file with parameters', None),
    ('autostart', 'true', 'configure and activate at start; false: a manager does', BOOL),
    ('use_sim_time', 'false', 'time from /clock, of a simulation or `ros2 bag play --clock`',
     BOOL),
    ('fastdds', 'false', 'config/fastdds.xml for everything that is started: enough shared '
     'memory for depth images', BOOL),
    ('rviz', 'false', 'show the faces in RViz', BOOL),
    ('fixed_frame', '', "frame in which RViz shows them; empty: that of the camera", None),
    ('log_level', 'info', 'least severity of messages that are printed',
     ['debug', 'info', 'warn', 'error']),
)


def topics(value):
    """Return the topics of image and camera_info for the arguments."""
    camera = CAMERAS[value['camera']]
    if not value['depth_topic']:
        return camera['depth_topic'], value['info_topic'] or camera['info_topic']
    folder, slash, _ = re.sub('/compressed(Depth)?$', '', value['depth_topic']).rpartition('/')
    return value['depth_topic'], value['info_topic'] or f'{folder}{slash}camera_info'


def checked(value):
    """Return the valid arguments; raise RuntimeError, which ends the launch, for invalid ones."""
    params_file = Path(value['params_file']).expanduser()
    if not params_file.is_file():
        raise RuntimeError(f'params_file:={value["params_file"]} does not exist: expected a YAML '
                           f'file as {CONFIG / "depthface.yaml"}')
    for name in ('autostart', 'use_sim_time', 'fastdds', 'rviz'):
        value[name] = value[name].lower()
    if value['rviz'] == 'true':
        try:
            get_package_prefix('rviz2')
        except PackageNotFoundError as error:
            raise RuntimeError('rviz:=true needs the package rviz2, which is not installed: '
                               'apt install ros-$ROS_DISTRO-rviz2, or leave rviz:=true out'
                               ) from error
    return value | {'params_file': str(params_file)}


def start(context):
    """Return the node with its topics, and RViz."""
    value = checked({name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS})
    depth_topic, info_topic = topics(value)
    given = {name: value[name] for name in ('image_transport', 'engine', 'models_folder')
             if value[name]}
    actions = []
    if value['fastdds'] == 'true':
        actions += [SetEnvironmentVariable(f'{name}_DEFAULT_PROFILES_FILE',
                                           str(CONFIG / 'fastdds.xml'))
                    for name in ('FASTRTPS', 'FASTDDS')]  # until Jazzy, since Lyrical
    actions.append(LifecycleNode(
        package='depthface_ros', executable='depthface_node', name='depthface',
        namespace=value['namespace'], output='screen',
        # With `autostart` the node configures and activates itself.
        parameters=[value['params_file'], {'use_sim_time': value['use_sim_time'] == 'true',
                                           'autostart': value['autostart'] == 'true'},
                    given],
        remappings=[('depth/image', depth_topic), ('depth/camera_info', info_topic)],
        ros_arguments=['--log-level', value['log_level']]))
    if value['rviz'] == 'true':
        fixed_frame = value['fixed_frame'] or CAMERAS[value['camera']].get('frame', FRAME)
        actions.append(Node(
            package='rviz2', executable='rviz2', output='screen',
            namespace=value['namespace'],
            arguments=['-d', str(CONFIG / 'depthface.rviz'), '-f', fixed_frame],
            parameters=[{'use_sim_time': value['use_sim_time'] == 'true'}],
            remappings=[('/depth/image', depth_topic), ('/depthface/mesh', 'depthface/mesh')]))
    return actions


def declared(**defaults):
    """Return the launch arguments, with other defaults for some."""
    return [DeclareLaunchArgument(name, default_value=defaults.get(name, default),
                                  description=description,
                                  **({'choices': choices} if choices else {}))
            for name, default, description, choices in ARGUMENTS]


def generate_launch_description():
    """Return the description that `ros2 launch` runs."""
    return LaunchDescription([*declared(), OpaqueFunction(function=start)])
