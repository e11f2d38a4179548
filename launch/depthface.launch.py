# SPDX-License-Identifier: Apache-2.0
"""Start the node: `ros2 launch depthface_ros depthface.launch.py camera:=realsense`."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

CONFIG = Path(__file__).resolve().parents[1] / 'config'

# Where the drivers of these cameras publish if nothing was changed: image and camera_info.
CAMERAS = {
    'none': ('depth/image', 'depth/camera_info'),
    'realsense': ('/camera/camera/depth/image_rect_raw', '/camera/camera/depth/camera_info'),
    'orbbec': ('/camera/depth/image_raw', '/camera/depth/camera_info'),
    'azure': ('/depth/image_raw', '/depth/camera_info'),
    'oak': ('/oak/stereo/image_raw', '/oak/stereo/camera_info'),
    'zed': ('/zed/zed_node/depth/depth_registered', '/zed/zed_node/depth/camera_info'),
    'gazebo': ('/rgbd_camera/depth_image', '/rgbd_camera/camera_info'),
}
# Name, default, what it means, and the values it takes if they are few.
ARGUMENTS = (
    ('camera', 'none', 'driver whose topic names to use', list(CAMERAS)),
    ('depth_topic', '', "depth image to listen to; empty: the camera's", None),
    ('info_topic', '', "camera_info of that image; empty: the camera's", None),
    ('namespace', '', 'namespace of the node', None),
    ('params_file', str(CONFIG / 'depthface.yaml'), 'YAML file with parameters', None),
    ('use_sim_time', 'false', 'take the time from /clock, of a simulation or `bag play --clock`',
     ['true', 'false']),
    ('log_level', 'info', 'least severe messages to print', ['debug', 'info', 'warn', 'error']),
)


def start_node(context):
    """The node with its topics, when the arguments have values."""
    value = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    depth_topic, info_topic = CAMERAS[value['camera']]
    return [LifecycleNode(
        package='depthface_ros', executable='depthface_node', name='depthface',
        namespace=value['namespace'], output='screen',
        # The node configures and activates itself unless the parameter `autostart` is false.
        parameters=[value['params_file'], {'use_sim_time': value['use_sim_time'] == 'true'}],
        remappings=[('depth/image', value['depth_topic'] or depth_topic),
                    ('depth/camera_info', value['info_topic'] or info_topic)],
        ros_arguments=['--log-level', value['log_level']])]


def generate_launch_description():
    """What `ros2 launch` runs."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description,
                              **({'choices': choices} if choices else {}))
        for name, default, description, choices in ARGUMENTS]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_node)])
