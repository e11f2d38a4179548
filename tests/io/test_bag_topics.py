# SPDX-License-Identifier: Apache-2.0
"""Topics that are read from a bag, and the camera_info of each image."""
from __future__ import annotations

import logging

import numpy as np
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('cv2')
from bags import CAMERA, DEPTH, IMAGE_TOPIC, INFO_TOPIC, STAMP_NS, STEP_NS, Bag  # noqa: E402

from depthface_ros.geometry.camera import Intrinsics  # noqa: E402
from depthface_ros.io.bags.topics import nearest_info  # noqa: E402
from depthface_ros.io.recordings import open_recording  # noqa: E402

OTHER = Intrinsics(30.0, 30.0, 3.5, 2.5)
ZERO = Intrinsics(0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize('image, infos, nearest', [
    ('/camera/depth/image_raw', ['/camera/depth/camera_info', '/camera/color/camera_info'], 0),
    ('/camera/depth/image_raw', ['/other/camera_info'], 0),
    ('/device_0/sensor_0/Depth_0/image/data', [
        '/device_0/sensor_0/Depth_0/info/camera_info',
        '/device_0/sensor_1/Color_0/info/camera_info'], 0),
    ('/head/range_finder', ['/head/range_finder/camera_info', '/head/color/camera_info'], 0),
    ('/camera/aligned_depth_to_color/image_raw', [
        '/camera/color/camera_info', '/camera/depth/camera_info'], 0),
    ('/cam/depth_image', ['/cam/depth_info', '/cam/rgb_info'], 0),
    ('/depth', ['/left/camera_info', '/right/camera_info'], None),
    ('/robot/depth', ['/robot/a/camera_info', '/robot/b/camera_info'], None),
    ('/depth', [], None)])
def test_the_camera_info_nearest_in_name_is_taken(image, infos, nearest):
    assert nearest_info(image, set(infos)) == ('' if nearest is None else infos[nearest])


def test_the_topic_of_the_camera_info_can_be_named(tmp_path):
    bag = Bag(tmp_path / 'bag')
    bag.write('/camera/color/camera_info', bag.info(OTHER))
    bag.fill(1)
    frame, = open_recording(tmp_path / 'bag', info_topic='/camera/color/camera_info')
    assert frame.intrinsics == OTHER
    with pytest.raises(ValueError, match=r'no camera_info on /nothing.*--info-topic.*color'):
        open_recording(tmp_path / 'bag', info_topic='/nothing')


def test_a_ros_1_recording_of_the_realsense_viewer_is_read_with_colour_beside_it(tmp_path):
    bag = Bag(tmp_path / 'viewer.bag', 'ros1', 'lz4')
    depth, colour = '/device_0/sensor_0/Depth_0', '/device_0/sensor_1/Color_0'
    for sensor, camera in ((colour, OTHER), (depth, CAMERA)):  # once, before all images
        info = bag.info(camera, frame='0')
        info.P[:], info.distortion_model = 0, 'Brown Conrady'
        bag.write(f'{sensor}/info/camera_info', info, 1)
    for i in range(3):
        stamp_ns = STAMP_NS + i * STEP_NS
        bag.write(f'{depth}/image/data', bag.image(DEPTH, stamp_ns, 'mono16', frame='0'), stamp_ns)
        bag.write(f'{colour}/image/data', bag.image(DEPTH, stamp_ns, 'rgb8', frame='0'), stamp_ns)
    recording = open_recording(bag.close())
    frames = list(recording)
    assert recording.topic == f'{depth}/image/data'
    assert [frame.intrinsics for frame in frames] == [CAMERA] * 3


def test_rectified_depth_whose_k_is_zero_follows_p(tmp_path):
    bag = Bag(tmp_path / 'bag')
    info = bag.info()
    info.k[:], info.d = 0, np.zeros(8)
    bag.write('/oak/stereo/camera_info', info)
    bag.write('/oak/stereo/image_raw', bag.image())
    frame, = open_recording(bag.close())
    assert frame.intrinsics == CAMERA


def infos_and_images(path, camera_of):
    """Write a bag with ten images; before image i comes the camera_info camera_of(i), if any."""
    bag = Bag(path)
    for i in range(10):
        stamp_ns = STAMP_NS + i * STEP_NS
        camera = camera_of(i)
        if camera is not None:
            bag.write(INFO_TOPIC, bag.info(camera), stamp_ns - 1)
        bag.write(IMAGE_TOPIC, bag.image(stamp_ns=stamp_ns), stamp_ns)
    return open_recording(bag.close())


@pytest.mark.parametrize('camera_of', [
    lambda i: CAMERA if i == 0 else None,  # once
    lambda i: CAMERA if i == 9 else None,  # at the end
    lambda i: CAMERA if i > 4 else ZERO,  # zero at first
    lambda i: ZERO if i in (3, 4, 7) else CAMERA,  # zero now and then
    lambda i: Intrinsics(np.nan, 10.0, 3.0, 3.0) if i < 4 else CAMERA])
def test_one_good_camera_info_is_enough_for_all_images(tmp_path, camera_of):
    frames = list(infos_and_images(tmp_path / 'bag', camera_of))
    assert [frame.intrinsics for frame in frames] == [CAMERA] * 10


def test_a_camera_info_that_changes_counts_from_then_on(tmp_path):
    frames = list(infos_and_images(tmp_path / 'bag', lambda i: {0: CAMERA, 6: OTHER}.get(i)))
    assert [frame.intrinsics for frame in frames] == [CAMERA] * 6 + [OTHER] * 4


def test_without_any_good_camera_info_the_cause_is_reported(tmp_path):
    with pytest.raises(ValueError, match='none of 10 images.*zero'):
        list(infos_and_images(tmp_path / 'bag', lambda i: ZERO))


def test_another_frame_of_the_camera_info_is_warned_of_once(tmp_path, caplog):
    bag = Bag(tmp_path / 'bag')
    bag.write(INFO_TOPIC, bag.info(frame='color_optical_frame\n\x1b[31m' + 'x' * 9999))
    for i in range(3):
        bag.write(IMAGE_TOPIC, bag.image(stamp_ns=STAMP_NS + i))
    with caplog.at_level(logging.WARNING):
        assert len(list(open_recording(bag.close()))) == 3
    record, = caplog.records
    text = record.getMessage()
    assert 'color_optical_frame' in text and '--info-topic' in text
    assert len(text) < 600 and text.isprintable()


@pytest.mark.parametrize('own', ['/humans/faces/f00001/cropped', '/ns/humans/faces/a/aligned',
                                 '/depthface/debug_image'])
def test_topics_of_a_face_node_are_no_depth_topics(tmp_path, own):
    bag = Bag(tmp_path / 'bag')
    bag.write(own, bag.image())
    bag.fill(2)
    assert open_recording(tmp_path / 'bag').topic == IMAGE_TOPIC
    assert len(list(open_recording(tmp_path / 'bag', topic=own, intrinsics=(9.0, 9.0)))) == 1


def test_a_topic_whose_first_messages_are_damaged_is_found_by_the_next(tmp_path):
    bag = Bag(tmp_path / 'bag')
    bag.write_bytes(IMAGE_TOPIC, 'sensor_msgs/msg/Image', b'\x00\x01\x00\x00', STAMP_NS - 1)
    bag.fill(2)
    assert len(list(open_recording(tmp_path / 'bag'))) == 2


def test_topics_with_escape_codes_reach_neither_log_nor_description(tmp_path, caplog):
    topic = '/a\n\x1b[31m' + 'x' * 2000
    bag = Bag(tmp_path / 'bag')
    bag.fill(2, topic, topic + '/camera_info')
    recording = open_recording(tmp_path / 'bag')
    with caplog.at_level(logging.WARNING):
        assert len(list(recording)) == 2
    assert recording.description.isprintable() and len(recording.description) < 300
    with pytest.raises(ValueError) as caught:
        open_recording(tmp_path / 'bag', topic='/b')
    assert str(caught.value).isprintable() and len(str(caught.value)) < 900


def test_units_other_than_those_of_the_encoding_can_be_given(tmp_path):
    path = Bag(tmp_path / 'bag').fill(1)
    plain, = open_recording(path)
    tenths, = open_recording(path, depth_unit=0.0001)
    np.testing.assert_allclose(tenths.depth, plain.depth * np.float32(0.0001), rtol=1e-6)
    assert tenths.depth.dtype == np.float32 and plain.depth.shape == DEPTH.shape


@pytest.mark.parametrize('beside', ['/ir/image_raw', '/camera/infra1/image_rect_raw', '/zed/confidence',
                                    '/kinect2/sd/image_ir_rect', '/depth/disparity/image'])
def test_images_that_are_no_depth_by_their_name_leave_the_choice_clear(tmp_path, beside):
    bag = Bag(tmp_path / 'bag')
    bag.write(beside, bag.image(encoding='mono16'))
    bag.write(INFO_TOPIC, bag.info())
    bag.write('/air/mirror/depth', bag.image())
    assert open_recording(bag.close()).topic == '/air/mirror/depth'


def test_such_a_name_does_not_hide_the_only_images(tmp_path):
    bag = Bag(tmp_path / 'bag')
    bag.write('/ir/depth/image', bag.image())
    bag.write(INFO_TOPIC, bag.info())
    assert open_recording(bag.close()).topic == '/ir/depth/image'
