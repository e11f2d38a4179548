# SPDX-License-Identifier: Apache-2.0
"""Bags and image files return the frames written to them, or report the cause."""
from __future__ import annotations

import json

import numpy as np
import pytest

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.recordings import open_recording

cv2 = pytest.importorskip('cv2')
pytest.importorskip('rosbags')
from bags import CAMERA, DEPTH, STAMP_NS, Bag  # noqa: E402


@pytest.fixture
def bag(tmp_path):
    return Bag(tmp_path / 'bag')


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('whole_folder', [True, False])
def test_a_bag_gives_its_frames_with_stamps_and_camera(tmp_path, storage, whole_folder):
    bag = Bag(tmp_path / 'bag', storage)
    for i in range(3):
        bag.write('/camera/depth/image_rect_raw', bag.image(DEPTH + np.uint16(i), stamp_ns=STAMP_NS + i))
    bag.write('/camera/depth/camera_info', bag.info())
    bag.write('/camera/color/camera_info', bag.info(Intrinsics(1.0, 1.0, 0.0, 0.0)))
    bag.close()
    path = tmp_path / 'bag'
    recording = open_recording(path if whole_folder else next(
        file for file in path.iterdir() if file.suffix in ('.mcap', '.db3')))
    assert recording.count == 3
    frames = list(recording)
    assert [frame.stamp_ns for frame in frames] == [STAMP_NS + i for i in range(3)]
    assert all(frame.intrinsics == CAMERA for frame in frames)
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.depth, DEPTH + np.uint16(i))


def test_a_bag_may_hold_compressed_depth_and_float_metres(tmp_path, bag):
    metres = DEPTH.astype(np.float32) / 1000
    bag.write('/depth/image_raw/compressedDepth', bag.compressed())
    bag.write('/other/depth', bag.image(metres, encoding='32FC1'))
    bag.write('/depth/camera_info', bag.info())
    bag.close()
    compressed, = open_recording(tmp_path / 'bag', topic='/depth/image_raw/compressedDepth')
    raw, = open_recording(tmp_path / 'bag', topic='/other/depth')
    np.testing.assert_array_equal(compressed.depth, DEPTH)
    np.testing.assert_array_equal(raw.depth, metres)


def test_of_raw_and_compressed_the_raw_topic_is_taken_and_colour_is_left_alone(tmp_path, bag):
    bag.write('/depth/image', bag.image(DEPTH))
    bag.write('/depth/image/compressedDepth', bag.compressed())
    bag.write('/color/image', bag.image(encoding='mono8'))
    bag.write('/depth/camera_info', bag.info())
    bag.close()
    assert open_recording(tmp_path / 'bag').topic == '/depth/image'


def test_intrinsics_that_are_given_replace_the_camera_info(tmp_path, bag):
    bag.write('/depth/image', bag.image())
    bag.close()
    frame, = open_recording(tmp_path / 'bag', intrinsics=(100.0, 100.0))
    assert frame.intrinsics == Intrinsics(100.0, 100.0, 3.5, 2.5)


def test_bags_that_leave_a_choice_or_none_name_their_topics(tmp_path):
    def error(fill):
        path = tmp_path / fill.__name__
        bag = Bag(path)
        fill(bag)
        bag.close()
        with pytest.raises(ValueError) as caught:
            list(open_recording(path))
        return str(caught.value)

    def two_cameras(bag):
        bag.write('/left/depth', bag.image())
        bag.write('/right/depth', bag.image())

    def only_colour(bag):
        bag.write('/color/image', bag.image(encoding='rgb8'))

    def no_camera_info(bag):
        bag.write('/camera/depth/image', bag.image())

    def truncated(bag):
        bag.write('/depth/image', bag.image(cut=40))
        bag.write('/depth/camera_info', bag.info())

    def uncalibrated(bag):
        bag.write('/depth/image', bag.image())
        bag.write('/depth/camera_info', bag.info(Intrinsics(0.0, 0.0, 0.0, 0.0)))

    def other_size(bag):
        bag.write('/depth/image', bag.image())
        bag.write('/depth/camera_info', bag.info(shape=(480, 640)))

    assert '/left/depth, /right/depth' in error(two_cameras)
    assert '/color/image (Image)' in error(only_colour)
    assert '/camera/depth/camera_info' in error(no_camera_info)
    assert 'at 1700000000.123456789: 40 bytes' in error(truncated)
    assert 'K is zero' in error(uncalibrated)
    assert '640x480 pixels, the depth image has 8x6' in error(other_size)


def test_a_topic_that_is_not_there_is_named_with_those_that_are(tmp_path, bag):
    bag.write('/depth/image', bag.image())
    bag.close()
    with pytest.raises(ValueError, match='/nothing.*/depth/image'):
        open_recording(tmp_path / 'bag', topic='/nothing')


@pytest.mark.parametrize('name', ['broken.mcap', 'broken.db3', 'broken.bag', 'broken.npz', 'broken.png'])
@pytest.mark.parametrize('content', [b'', b'no such format' * 9])
def test_broken_files_raise_value_error_with_their_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name.replace('.', r'\.')):
        list(open_recording(tmp_path / name, intrinsics=(1.0, 1.0)))


def test_a_folder_of_png_is_read_in_natural_order_with_the_camera_beside(tmp_path):
    for i in (10, 9, 1):
        cv2.imwrite(str(tmp_path / f'frame_{i}.png'), DEPTH + np.uint16(i))
    (tmp_path / 'camera.json').write_text(json.dumps({'fx': 10, 'fy': 11, 'cx': 3.5, 'cy': 2.5}))
    frames = list(open_recording(tmp_path))
    assert [frame.name for frame in frames] == ['frame_1', 'frame_9', 'frame_10']
    np.testing.assert_array_equal(frames[2].depth, DEPTH + np.uint16(10))
    assert frames[0].intrinsics == CAMERA
    assert frames[0].stamp_ns < frames[1].stamp_ns < frames[2].stamp_ns


def test_the_camera_file_may_be_what_ros_calibration_writes(tmp_path):
    pytest.importorskip('ruamel.yaml')
    cv2.imwrite(str(tmp_path / 'a.png'), DEPTH)
    (tmp_path / 'camera.yaml').write_text(
        'image_width: 8\ncamera_matrix: {rows: 3, cols: 3, data: [10, 0, 3.5, 0, 11, 2.5, 0, 0, 1]}\n'
        'distortion_model: plumb_bob\ndistortion_coefficients: {data: [0.1, 0, 0, 0, 0]}\n')
    frame, = open_recording(tmp_path)
    assert frame.intrinsics == Intrinsics(10.0, 11.0, 3.5, 2.5, (0.1, 0.0, 0.0, 0.0, 0.0), 'plumb_bob')


def test_images_without_a_camera_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), DEPTH)
    with pytest.raises(ValueError, match='camera.json'):
        list(open_recording(tmp_path))


def test_eight_bit_png_is_no_depth(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), DEPTH.astype(np.uint8))
    with pytest.raises(ValueError, match='16-bit'):
        list(open_recording(tmp_path, intrinsics=(1.0, 1.0)))


def test_npz_stacks_with_true_sizes_are_cut_to_them(tmp_path):
    stack = np.stack([DEPTH, DEPTH])
    np.savez(tmp_path / 'f.npz', depth_mm=stack, size_hw=[[6, 8], [4, 5]])
    frames = list(open_recording(tmp_path / 'f.npz', intrinsics=(10.0, 11.0)))
    np.testing.assert_array_equal(frames[1].depth, DEPTH[:4, :5])
    assert frames[0].intrinsics == CAMERA
    assert frames[1].intrinsics == Intrinsics(10.0, 11.0, 2.0, 1.5)


@pytest.mark.parametrize('k', [[10, 11, 3.5, 2.5], [[10, 0, 3.5], [0, 11, 2.5], [0, 0, 1]]])
def test_npz_of_one_image_may_hold_metres_of_any_precision_and_its_camera(tmp_path, k):
    np.savez(tmp_path / 'f.npz', depth_m=DEPTH.astype(np.float64) / 1000, K=k)
    frame, = open_recording(tmp_path / 'f.npz')
    assert frame.depth.dtype == np.float32 and frame.intrinsics == CAMERA and frame.name == 'f'


def test_npz_with_other_arrays_is_refused_with_their_names(tmp_path):
    np.savez(tmp_path / 'f.npz', depth=DEPTH)
    with pytest.raises(ValueError, match=r'depth \(uint16\).*depth_mm'):
        list(open_recording(tmp_path / 'f.npz', intrinsics=(1.0, 1.0)))


def test_a_folder_without_anything_to_read_is_refused_with_what_is_expected(tmp_path):
    with pytest.raises(ValueError, match='expected a bag'):
        open_recording(tmp_path)
    with pytest.raises(FileNotFoundError, match='nowhere'):
        open_recording(tmp_path / 'nowhere')


def test_other_files_are_named_as_found(tmp_path):
    (tmp_path / 'a').mkdir()
    for i in range(3):
        np.save(tmp_path / 'a' / f'{i}.npy', DEPTH)
    with pytest.raises(ValueError, match=r'holds 3 .npy files: expected a bag'):
        open_recording(tmp_path / 'a')
    with pytest.raises(ValueError, match=r"is a file of type '.npy': expected a bag"):
        open_recording(tmp_path / 'a' / '0.npy')
    (tmp_path / 'b').mkdir()
    with pytest.raises(ValueError, match='holds no files: expected a bag'):
        open_recording(tmp_path / 'b')


def test_folders_of_images_in_a_folder_are_named(tmp_path):
    for name in ('depth', 'rgb'):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / '0.png'), DEPTH)
    with pytest.raises(ValueError, match="holds 2 recordings, such as 'depth': name them"):
        open_recording(tmp_path)


def test_a_slash_before_a_frame_is_left_out_and_makes_no_other_frame(bag, caplog):
    bag.write('/depth/image', bag.image(frame='/camera_optical'))
    bag.write('/depth/camera_info', bag.info(frame='camera_optical'))
    frame, = open_recording(bag.close())
    assert frame.frame_id == 'camera_optical' and not caplog.text
