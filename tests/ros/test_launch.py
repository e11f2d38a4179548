# SPDX-License-Identifier: Apache-2.0
"""The launch files, run by the real `launch` and `launch_ros` from an installed package."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path

import pytest

for module in ('rclpy', 'tf2_msgs', 'onnxruntime', 'yaml'):
    pytest.importorskip(module)
pytest.importorskip('launch_ros', reason='launch and launch_ros are not on PyPI; ROS has them, '
                    'and the sources of ros2/launch and ros2/launch_ros on PYTHONPATH do as well')

import rclpy
import yaml
from launched import ROOT, Launched, installed, write_program
from ros_helpers import DEPTH, Peer, camera_info_message, image_message, spinning
from sensor_msgs.msg import CameraInfo, Image

SAMPLE = ROOT / 'demo' / 'sample.mcap'
CAMERAS = yaml.safe_load((ROOT / 'config' / 'cameras.yaml').read_text())
# Stands in for `ros2 bag play` and `ros2 service call`, which are not on PyPI. As the real player it
# does not wait for subscribers: it starts at once, or paused until its service is called.
PLAYER = f'''#!{sys.executable}
import os, sys, time
resumed = os.environ['RESUMED']
if sys.argv[1:3] == ['service', 'call']:
    assert sys.argv[3:5] == ['/rosbag2_player/resume', 'rosbag2_interfaces/srv/Resume']
    open(resumed, 'w').close()
    sys.exit()
import rclpy
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from pathlib import Path
print('played with', sys.argv[1:], flush=True)
rclpy.init()
node = rclpy.create_node('rosbag2_player')
clock = node.create_publisher(Clock, '/clock', 10)
kinds = {{'sensor_msgs/msg/Image': Image, 'sensor_msgs/msg/CameraInfo': CameraInfo}}
publishers = {{}}
with AnyReader([Path(sys.argv[3])]) as reader:
    topics = sys.argv[sys.argv.index('--topics') + 1:]
    connections = [c for c in reader.connections if c.msgtype in kinds and c.topic in topics]
    for c in connections:
        publishers[c.topic] = node.create_publisher(kinds[c.msgtype], c.topic,
                                                    qos_profile_sensor_data)
    while '--start-paused' in sys.argv and not os.path.exists(resumed):
        time.sleep(0.02)
    for c, stamp, data in reader.messages(connections):
        tick = Clock()
        tick.clock.sec, tick.clock.nanosec = divmod(stamp, 10**9)
        clock.publish(tick)
        publishers[c.topic].publish(bytes(data))
        time.sleep(0.03)
time.sleep(1.0)
'''


@pytest.fixture(scope='module')
def share(tmp_path_factory):
    """The share folder of the package, installed as colcon would; found by ament."""
    with installed(tmp_path_factory.mktemp('install')) as folder:
        yield folder


def test_each_preset_names_topics_and_where_they_come_from():
    assert list(CAMERAS) == ['generic', 'realsense', 'orbbec', 'azure', 'oak', 'zed', 'gazebo']
    for name, camera in CAMERAS.items():
        assert set(camera) == {'driver', 'depth_topic', 'info_topic', 'note'}
        for topic in (camera['depth_topic'], camera['info_topic']):
            assert re.fullmatch(r'/?[a-z_]+(/[a-z_]+)+', topic)
            assert topic.startswith('/') == (name != 'generic')
        assert camera['info_topic'].endswith('camera_info')


@pytest.mark.parametrize('arguments, image, info', [
    *((f'camera:={name}', camera['depth_topic'], camera['info_topic'])
      for name, camera in CAMERAS.items()),
    ('depth_topic:=/a/depth/image', '/a/depth/image', '/a/depth/camera_info'),
    ('depth_topic:=/a/depth/image/compressedDepth', '/a/depth/image/compressedDepth',
     '/a/depth/camera_info'),
    ('depth_topic:=image', 'image', 'camera_info'),
    ('camera:=zed info_topic:=/other', CAMERAS['zed']['depth_topic'], '/other'),
], ids=lambda value: value if ':=' in value else '')
def test_the_arguments_become_remappings(share, arguments, image, info):
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_ros.actions import LifecycleNode

    from launch import LaunchContext
    context = LaunchContext()
    entities = [IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share / 'launch' / 'depthface.launch.py')),
        launch_arguments=[text.split(':=') for text in arguments.split()])]
    for entity in entities:  # grows while it is gone through
        if isinstance(entity, LifecycleNode):
            # what execute() does before it starts the process
            entity._perform_substitutions(context)
            assert entity.expanded_remapping_rules == [
                ('depth/image', image), ('depth/camera_info', info)]
            return
        entities += entity.visit(context) or []
    raise AssertionError('the launch file starts no node')


def test_a_launched_node_receives_its_camera_and_publishes(share, tmp_path):
    parameters = tmp_path / 'parameters.yaml'
    parameters.write_text('/**:\n  ros__parameters:\n    mesh_lifetime: 0.25\n')
    rclpy.init()
    peer = Peer()
    image = peer.node.create_publisher(Image, '/left/depth/image', 1)
    info = peer.node.create_publisher(CameraInfo, '/left/depth/camera_info', 1)
    with Launched(share / 'launch' / 'depthface.launch.py', 'depth_topic:=/left/depth/image',
                  'namespace:=left', 'fastdds:=true', f'params_file:={parameters}',
                  log=tmp_path / 'log') as launched, spinning(peer.node):
        printed = launched.wait_for('listening to /left/depth/camera_info')
        assert 'engine: cpu' in printed and 'models: ' in printed
        pid = re.search(r'depthface_node-1.*started with pid \[(\d+)', printed)[1]
        environment = Path(f'/proc/{pid}/environ').read_text().split('\0')
        for name in ('FASTRTPS', 'FASTDDS'):
            assert f'{name}_DEFAULT_PROFILES_FILE={share}/config/fastdds.xml' in environment
        peer.wait_for(lambda: image.get_subscription_count() and info.get_subscription_count())
        info.publish(camera_info_message())
        time.sleep(0.5)  # until the node knows the publishers as they know it
        info.publish(camera_info_message())
        image.publish(image_message(DEPTH, 1))
        printed = launched.wait_for('image: 64x48 16UC1')
        assert 'focal length 60.0' in launched.wait_for('camera: ')
        heartbeat = peer.wait_for(lambda: peer.diagnostics().get('processed total') == '1'
                                  and peer.heard['diagnostics'][-1].status[0])
        assert heartbeat.name == 'left/depthface: faces'
    rclpy.shutdown()
    printed = (tmp_path / 'log').read_text()
    assert 'Traceback' not in printed and 'process has finished cleanly' in printed


@pytest.mark.parametrize('arguments, frame', [
    (['fixed_frame:=zed_left'], 'zed_left'), ([], CAMERAS['zed']['frame'])])
def test_rviz_is_opened_on_the_topics_of_the_node(share, tmp_path, arguments, frame):
    with Launched(share / 'launch' / 'depthface.launch.py', 'rviz:=true', 'camera:=zed',
                  'namespace:=left', 'autostart:=false', *arguments,
                  log=tmp_path / 'log') as launched:
        printed = launched.wait_for('seen by')
        launched.wait_for('depthface_node-1]: process started')
    seen, = (line for line in printed.splitlines() if 'seen by' in line)
    assert f'-d {share}/config/depthface.rviz -f {frame}' in seen
    assert f'/depth/image:={CAMERAS["zed"]["depth_topic"]}' in seen
    assert '/depthface/mesh:=depthface/mesh' in seen and '__ns:=/left' in seen


def test_without_autostart_the_node_waits_for_its_manager(share, tmp_path):
    with Launched(share / 'launch' / 'depthface.launch.py', 'autostart:=false',
                  'log_level:=debug', log=tmp_path / 'log') as launched:
        launched.wait_for('process started with pid')
        time.sleep(3)
    assert 'listening' not in (tmp_path / 'log').read_text()


def install_player(tmp_path, monkeypatch):
    write_program(tmp_path / 'bin' / 'ros2', PLAYER)
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'), prepend=os.pathsep)
    monkeypatch.setenv('RESUMED', str(tmp_path / 'resumed'))


def test_ctrl_c_during_a_replay_ends_it_well(share, tmp_path, monkeypatch):
    pytest.importorskip('rosbags')
    install_player(tmp_path, monkeypatch)
    with Launched(share / 'launch' / 'replay.launch.py', f'bag:={SAMPLE}',
                  log=tmp_path / 'log') as launched:
        launched.wait_for('image: 640x480 16UC1', 120)
        launched.interrupt()
        printed = launched.wait(30)
    assert 'caught exception' not in printed.lower()
    # the stand-in is a Python program, which Ctrl-C ends with a traceback of its own
    assert 'Traceback' not in re.sub(r'\[ros2-\d+\].*', '', printed)


def test_a_replay_whose_player_cannot_be_resumed_ends(share, tmp_path, monkeypatch):
    pytest.importorskip('rosbags')
    install_player(tmp_path, monkeypatch)
    write_program(tmp_path / 'bin' / 'ros2', PLAYER.replace("open(resumed, 'w').close()", "sys.exit(1)"))
    with Launched(share / 'launch' / 'replay.launch.py', f'bag:={SAMPLE}',
                  log=tmp_path / 'log') as launched:
        printed = launched.wait_for('the player could not be resumed', 120)
        launched.status(60)
    assert 'rosbag2_interfaces/srv/Resume {} ended with status 1' in printed


@pytest.mark.parametrize('file, arguments, found', [
    ('depthface', ['params_file:=/no/file.yaml'], 'params_file:=/no/file.yaml does not exist'),
    ('depthface', ['rviz:=true'], 'rviz:=true needs the package rviz2'),
    ('replay', ['bag:=/no/bag'], 'bag:=/no/bag does not exist'),
    ('replay', [f'bag:={SAMPLE}', 'depth_topic:=/rear/depth'], 'no images on topic /rear/depth: its '
     'topics are /camera/depth/camera_info'),
    ('replay', [f'bag:={SAMPLE}', 'info_topic:=/rear/info'], 'name it with info_topic:='),
])
def test_a_launch_that_cannot_work_starts_nothing(share, tmp_path, monkeypatch, file, arguments,
                                                  found):
    without_rviz = tmp_path / 'prefix'
    shutil.copytree(share.parents[1], without_rviz)
    (without_rviz / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'rviz2').unlink()
    monkeypatch.setenv('AMENT_PREFIX_PATH', os.environ['AMENT_PREFIX_PATH'].replace(
        str(share.parents[1]), str(without_rviz)))
    with Launched(share / 'launch' / f'{file}.launch.py', *arguments,
                  log=tmp_path / 'log') as launched:
        assert launched.status(60) != 0
    printed = (tmp_path / 'log').read_text()
    assert found in printed and 'process started' not in printed


@pytest.mark.parametrize('file', ['depthface', 'replay'])
def test_all_arguments_are_declared(share, file):
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from launch import LaunchContext
    description = PythonLaunchDescriptionSource(
        str(share / 'launch' / f'{file}.launch.py')).get_launch_description(LaunchContext())
    names = {argument.name for argument in description.get_launch_arguments()}
    assert {'camera', 'depth_topic', 'params_file', 'models_folder', 'rviz', 'log_level'} <= names
    assert ('bag' in names) == (file == 'replay')


def test_replay_subscribes_to_the_camera_info_that_belongs_to_the_depth(share, tmp_path):
    pytest.importorskip('rosbags')
    from bags import Bag
    bag = Bag(tmp_path / 'walk')
    bag.write('/camera/aligned_depth_to_color/image_raw', bag.image())
    bag.write('/camera/color/camera_info', bag.info())
    with Launched(share / 'launch' / 'replay.launch.py', f'bag:={bag.close()}',
                  log=tmp_path / 'log') as launched:
        launched.wait_for('listening to /camera/aligned_depth_to_color/image_raw')
        launched.wait_for('listening to /camera/color/camera_info')


def test_replay_plays_the_bag_through_the_node_and_ends_with_it(share, tmp_path, monkeypatch):
    pytest.importorskip('rosbags')
    install_player(tmp_path, monkeypatch)
    bag = SAMPLE
    rclpy.init()
    peer = Peer()
    with Launched(share / 'launch' / 'replay.launch.py', f'bag:={bag}', 'namespace:=robot',
                  log=tmp_path / 'log') as launched, spinning(peer.node):
        printed = launched.wait(120)
    rclpy.shutdown()
    assert f"'bag', 'play', '{bag}', '--start-paused'" in printed
    assert "'--clock', '100', '--rate', '1.0'" in printed
    assert 'image: 640x480 16UC1' in printed  # found by itself, and larger than stock DDS carries
    assert peer.heard['tf']
    assert peer.diagnostics()['received total'] == '75'  # all that the bag holds
    heartbeats = [{pair.key: pair.value for pair in message.status[0].values}
                  for message in peer.heard['diagnostics']]
    latencies = [float(values['stamp to publish p50 (ms)']) for values in heartbeats
                 if 'stamp to publish p50 (ms)' in values]
    assert latencies and max(latencies) < 5000  # of simulated time, not years
    assert 'Traceback' not in printed
