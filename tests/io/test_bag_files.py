# SPDX-License-Identifier: Apache-2.0
"""Which files are a recording, and in what format: the content decides, not names or metadata."""
from __future__ import annotations

import shutil
import sqlite3
import struct

import pytest

pytest.importorskip('rosbags')
pytest.importorskip('cv2')
from bags import (  # noqa: E402
    DEPTH,
    IMAGE_TOPIC,
    INFO_TOPIC,
    STAMP_NS,
    STEP_NS,
    Bag,
    error,
    numbered,
    stamps,
    storage_file,
)

from depthface_ros.io.recordings import open_recording  # noqa: E402


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('change', [
    lambda text: text.replace('nsec: 0', 'nsec: 99999999999'),
    lambda text: text.replace('version: 9', 'version: 99'),
    lambda text: text.replace('storage_identifier: ', 'storage_identifier: other_'),
    lambda text: '\n'.join(line for line in text.splitlines() if 'storage_identifier' not in line),
    lambda text: text.replace('message_count: 5', 'message_count: many'),
    lambda text: text.replace('bag_0', 'a_file_of_another_name'),
    lambda text: text.replace("compression_mode: ''", 'compression_mode: FILE'),
    lambda text: 'a: &a [1, 2]\nb: [*a, *a]\n', lambda text: '{' * 5000, lambda text: '',
    lambda text: None])
def test_a_wrong_metadata_file_changes_nothing(tmp_path, storage, change):
    path = Bag(tmp_path / 'bag', storage).fill()
    metadata = path / 'metadata.yaml'
    text = change(metadata.read_text())
    if text is None:
        metadata.unlink()
    else:
        metadata.write_text(text)
    assert stamps(open_recording(path)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('name', ['other.mcap', 'bag_0.mcap.bak', 'recording', 'bag.db3', 'bag.png.old'])
def test_the_content_decides_the_format_not_the_name(tmp_path, name):
    file = storage_file(Bag(tmp_path / 'bag').fill())
    assert stamps(open_recording(file.rename(tmp_path / name))) == [0, 1, 2, 3, 4]


def test_metadata_may_be_named_for_its_folder(tmp_path):
    path = Bag(tmp_path / 'bag').fill()
    assert stamps(open_recording(path / 'metadata.yaml')) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('compression', ['message', 'file'])
def test_one_compressed_file_of_a_bag_is_read_and_the_folder_too(tmp_path, storage, compression):
    path = Bag(tmp_path / 'bag', storage, compression).fill()
    assert stamps(open_recording(path)) == [0, 1, 2, 3, 4]
    assert stamps(open_recording(storage_file(path))) == [0, 1, 2, 3, 4]


def test_a_file_that_a_player_decompressed_counts_once(tmp_path):
    path = Bag(tmp_path / 'bag', compression='file').fill()
    plain = storage_file(Bag(tmp_path / 'plain').fill())
    shutil.copyfile(plain, path / storage_file(path).stem)
    assert stamps(open_recording(path)) == [0, 1, 2, 3, 4]


def test_files_of_a_split_recording_are_read_in_order_of_time(tmp_path):
    for number, seconds in ((0, 20), (10, 10), (9, 0)):
        bag = Bag(tmp_path / f'part{number}')
        stamp_ns = STAMP_NS + seconds * 10 ** 9
        bag.write(INFO_TOPIC, bag.info(), stamp_ns)
        bag.write(IMAGE_TOPIC, bag.image(stamp_ns=stamp_ns), stamp_ns)
        storage_file(bag.close()).rename(tmp_path / f'walk_{number}.mcap')
        shutil.rmtree(bag.path)
    frames = list(open_recording(tmp_path))
    assert [(frame.stamp_ns - STAMP_NS) // 10 ** 9 for frame in frames] == [0, 10, 20]


def test_a_recording_may_have_more_files_than_a_process_may_open(tmp_path):
    resource = pytest.importorskip('resource')
    file = storage_file(Bag(tmp_path / 'bag').fill(1))
    for number in range(60):
        shutil.copyfile(file, tmp_path / f'long_{number}.mcap')
    shutil.rmtree(tmp_path / 'bag')
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (50, limits[1]))
    try:
        assert stamps(open_recording(tmp_path)) == [0] * 60
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_two_recordings_in_a_folder_are_not_mixed(tmp_path):
    for name in ('one', 'two'):
        storage_file(Bag(tmp_path / name).fill()).rename(tmp_path / f'{name}.mcap')
        shutil.rmtree(tmp_path / name)
    assert 'holds 2 bags and no metadata.yaml' in error(tmp_path)


def test_a_ros_1_profile_in_mcap_is_read(tmp_path):
    file = tmp_path / 'ros1.mcap'
    one = Bag(tmp_path / 'unused.bag', 'ros1')

    def record(opcode, body):
        return struct.pack('<BQ', opcode, len(body)) + body

    def text(value):
        return struct.pack('<I', len(value)) + value.encode()

    parts = [b'\x89MCAP0\r\n', record(1, text('ros1') + text(''))]
    for number, (name, topic) in enumerate((('Image', IMAGE_TOPIC), ('CameraInfo', INFO_TOPIC)), 1):
        parts.append(record(3, struct.pack('<H', number) + text(f'sensor_msgs/{name}')
                            + text('ros1msg') + text('')))
        parts.append(record(4, struct.pack('<HH', number, number) + text(topic) + text('ros1')
                            + struct.pack('<I', 0)))
    for i in (2, 1, 0):
        stamp_ns = STAMP_NS + i * STEP_NS
        for number, message in ((2, one.info()), (1, one.image(numbered(i), stamp_ns))):
            parts.append(record(5, struct.pack('<HIQQ', number, i, stamp_ns, stamp_ns)
                                + one.serialised(message)))
    file.write_bytes(b''.join(parts))
    assert stamps(open_recording(file)) == [0, 1, 2]


def test_other_encodings_are_named(tmp_path):
    path = Bag(tmp_path / 'bag', 'sqlite3').fill()
    with sqlite3.connect(storage_file(path)) as database:
        database.execute("UPDATE topics SET serialization_format = 'protobuf'")
    assert "encoded as 'protobuf'" in error(path, topic=IMAGE_TOPIC)
    assert 'no depth images' in error(path)


@pytest.mark.parametrize('name, content, cause', [
    ('a.mcap', b'', 'the file is empty'), ('a.db3', b'x' * 99, 'expected an mcap'),
    ('a.mcap', b'\x89MCAP0\r\n', 'no depth images'),
    ('a.db3', b'SQLite format 3\0' + bytes(200), 'database'),
    ('a.bag', b'#ROSBAG V2.0\n', 'no depth images'),
    ('a.mcap.zstd', b'\x28\xb5\x2f\xfd' + bytes(50), 'no recording')])
def test_files_without_content_are_named_with_the_cause(tmp_path, name, content, cause):
    (tmp_path / name).write_bytes(content)
    text = error(tmp_path / name)
    assert cause in text and text.startswith(str(tmp_path / name))


def test_a_folder_of_several_recordings_is_refused_with_their_names(tmp_path):
    for name in ('monday', 'tuesday'):
        Bag(tmp_path / name).fill(1)
    assert "holds 2 recordings, such as 'monday'" in error(tmp_path)


@pytest.mark.parametrize('name', ['with space', 'a#b?c%20.d', 'ümläut', 'new\nline'])
@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_folders_may_have_any_name(tmp_path, storage, name):
    path = Bag(tmp_path / 'plain', storage).fill(2).rename(tmp_path / name)
    assert stamps(open_recording(path)) == [0, 1]
    storage_file(path).write_bytes(b'no bag')
    error(path)


def test_a_folder_whose_storage_file_is_gone_is_named(tmp_path):
    path = Bag(tmp_path / 'bag').fill()
    storage_file(path).unlink()
    assert 'holds metadata.yaml but no storage file' in error(path)


def test_images_come_as_they_are_when_all_is_well(tmp_path):
    path = Bag(tmp_path / 'bag').fill()
    recording = open_recording(path)
    assert stamps(recording) == [0, 1, 2, 3, 4] and recording.count == 5
    assert recording.rejections.summary(5) == '' and DEPTH.shape == (6, 8)
    assert recording.description == f'depth on {IMAGE_TOPIC}, camera_info on {INFO_TOPIC}'
