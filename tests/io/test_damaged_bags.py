# SPDX-License-Identifier: Apache-2.0
"""Damaged, unfinished and badly described bags return what is readable, or the cause in one line."""
from __future__ import annotations

import logging
import shutil
import sqlite3
import struct

import numpy as np
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('cv2')
from bags import (  # noqa: E402
    CAMERA,
    DEPTH,
    IMAGE_TOPIC,
    INFO_TOPIC,
    STAMP_NS,
    STEP_NS,
    Bag,
    numbered,
    storage_file,
)

from depthface_ros.geometry.camera import Intrinsics  # noqa: E402
from depthface_ros.io.recordings import open_recording  # noqa: E402

LARGE = (480, 640)  # two images fill a chunk
LARGE_CAMERA = Intrinsics(600.0, 610.0, 319.5, 239.5)


def stamps(recording) -> list[int]:
    """Return the numbers of the frames that `fill` wrote, checked pixel by pixel."""
    found = []
    for frame in recording:
        number = (frame.stamp_ns - STAMP_NS) // STEP_NS
        np.testing.assert_array_equal(frame.depth, numbered(number, frame.depth.shape))
        assert frame.intrinsics == (LARGE_CAMERA if frame.depth.shape == LARGE else CAMERA)
        found.append(number)
    return found


def large_bag(path, count=8, **options):
    bag = Bag(path, **options)
    for i in range(count):
        stamp_ns = STAMP_NS + i * STEP_NS
        bag.write(INFO_TOPIC, bag.info(LARGE_CAMERA, LARGE), stamp_ns)
        bag.write(IMAGE_TOPIC, bag.image(numbered(i, LARGE), stamp_ns), stamp_ns)
    return bag.close()


def error(path, **options) -> str:
    with pytest.raises(ValueError) as caught:
        list(open_recording(path, **options))
    assert '\n' not in str(caught.value)
    return str(caught.value)


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


@pytest.mark.parametrize('compression', [None, 'storage'])
def test_a_killed_mcap_without_its_index_is_read_chunk_by_chunk(tmp_path, compression):
    file = storage_file(large_bag(tmp_path / 'bag', compression=compression))
    content = file.read_bytes()
    data_end = content.rindex(b'\x0f\x04\x00\x00\x00\x00\x00\x00\x00')
    file.write_bytes(content[:data_end])
    assert stamps(open_recording(file)) == list(range(8))
    for fraction in (0.9, 0.5):  # in the middle of a chunk
        file.write_bytes(content[:int(data_end * fraction)])
        found = stamps(open_recording(file))
        assert found == list(range(len(found))) and len(found) >= int(8 * fraction) - 2


def test_messages_out_of_order_without_an_index_are_sorted_within_reach(tmp_path):
    bag = Bag(tmp_path / 'bag')
    bag.write(INFO_TOPIC, bag.info())
    for i in (1, 0, 3, 2):
        stamp_ns = STAMP_NS + i * STEP_NS
        bag.write(IMAGE_TOPIC, bag.image(numbered(i), stamp_ns), stamp_ns)
    file = storage_file(bag.close())
    content = file.read_bytes()
    file.write_bytes(content[:content.rindex(b'\x0f\x04\x00\x00\x00\x00\x00\x00\x00')])
    assert stamps(open_recording(file)) == [0, 1, 2, 3]


@pytest.mark.parametrize('storage', ['mcap', 'ros1'])
def test_a_bad_chunk_is_skipped_and_its_images_are_counted(tmp_path, caplog, storage):
    options = {'storage': storage, 'compression': 'lz4' if storage == 'ros1' else 'storage'}
    path = large_bag(tmp_path / 'bag.bag' if storage == 'ros1' else tmp_path / 'bag', **options)
    file = path if path.is_file() else storage_file(path)
    content = bytearray(file.read_bytes())
    magic = b'\x04\x22\x4d\x18' if storage == 'ros1' else b'\x28\xb5\x2f\xfd'
    chunk = content.index(magic, len(content) // 2)
    content[chunk:chunk + 64] = bytes(64)
    file.write_bytes(content)
    recording = open_recording(path)
    with caplog.at_level(logging.WARNING):
        found = stamps(recording)
    assert 0 < len(found) < 8 and recording.rejections.count == 8 - len(found)
    assert 'damaged in part' in caplog.text
    assert f'{8 - len(found)} of 8 images rejected' in recording.rejections.summary(len(found))


@pytest.mark.parametrize('storage', ['mcap', 'ros1'])
def test_zeros_in_a_recording_without_an_index_cost_the_chunks_that_they_hit(tmp_path, storage):
    options = {'storage': storage, 'compression': 'lz4' if storage == 'ros1' else 'storage'}
    path = large_bag(tmp_path / 'bag.bag' if storage == 'ros1' else tmp_path / 'bag', 12, **options)
    file = path if path.is_file() else storage_file(path)
    content = bytearray(file.read_bytes())
    if storage == 'mcap':
        del content[content.rindex(b'\x0f\x04\x00\x00\x00\x00\x00\x00\x00'):]
    quarter = len(content) // 4
    content[quarter:2 * quarter] = bytes(quarter)
    file.write_bytes(content)
    found = stamps(open_recording(file))
    assert 0 in found and 11 in found and 5 <= len(found) <= 10


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3', 'ros1'])
@pytest.mark.parametrize('keep', [0, 3, 11, 30, 90])
def test_messages_that_were_cut_are_skipped_counted_and_reported_once(tmp_path, caplog, storage, keep):
    bag = Bag(tmp_path / ('bag.bag' if storage == 'ros1' else 'bag'), storage)
    bag.write(INFO_TOPIC, bag.info())
    for i in range(6):
        stamp_ns = STAMP_NS + i * STEP_NS
        data = bag.serialised(bag.image(numbered(i), stamp_ns))
        bag.write_bytes(IMAGE_TOPIC, 'sensor_msgs/msg/Image', data[:keep] if i % 2 else data,
                        stamp_ns)
    recording = open_recording(bag.close())
    with caplog.at_level(logging.WARNING):
        assert stamps(recording) == [0, 2, 4]
    assert recording.rejections.count == 3
    assert recording.rejections.summary(3).startswith('3 of 6 images rejected: 3 x ')
    assert len(caplog.records) == 1


@pytest.mark.parametrize('compression', [None, 'lz4', 'bz2'])
def test_ros_1_bags_are_read_indexed_or_not(tmp_path, compression):
    path = large_bag(tmp_path / 'bag.bag', storage='ros1', compression=compression)
    assert stamps(open_recording(path)) == list(range(8))
    content = path.read_bytes()
    active = tmp_path / 'killed.bag.active'
    active.write_bytes(content[:len(content) * 3 // 4])
    found = stamps(open_recording(active))
    assert found == list(range(len(found))) and len(found) >= 4


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


def test_a_cut_sqlite3_file_gives_what_comes_before(tmp_path):
    file = storage_file(large_bag(tmp_path / 'bag', storage='sqlite3'))
    content = file.read_bytes()
    file.write_bytes(content[:len(content) * 3 // 4])
    found = stamps(open_recording(file))
    assert found == list(range(len(found))) and len(found) >= 4


@pytest.mark.parametrize('mode', ['DELETE', 'WAL'])
def test_a_sqlite3_file_with_a_hot_journal_is_read_and_left_alone(tmp_path, mode):
    path = Bag(tmp_path / 'bag', 'sqlite3').fill()
    file, killed = storage_file(path), tmp_path / 'killed'
    database = sqlite3.connect(file)
    database.execute(f'PRAGMA journal_mode = {mode}')
    if mode == 'WAL':  # committed, but only in the journal
        database.execute('INSERT INTO messages SELECT id + 100, topic_id, timestamp, data '
                         'FROM messages')
        database.commit()
    else:  # begun, and its pages were written already
        database.execute('PRAGMA cache_size = 1')
        database.execute('UPDATE messages SET data = zeroblob(100000)')
    shutil.copytree(path, killed)
    database.close()
    before = {item.name: item.read_bytes() for item in killed.iterdir()}
    assert len(before) > 2
    found = stamps(open_recording(killed))
    assert sorted(found) == sorted([0, 1, 2, 3, 4] * (2 if mode == 'WAL' else 1))
    assert {item.name: item.read_bytes() for item in killed.iterdir()} == before


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


def test_a_compressed_file_that_expands_out_of_proportion_is_refused(tmp_path):
    from depthface_ros.io.storage.parts import zstd_module
    bomb = zstd_module().compress(b'\x89MCAP0\r\n' + bytes(1 << 26))
    (tmp_path / 'a.mcap.zstd').write_bytes(bomb)
    assert 'out of proportion' in error(tmp_path / 'a.mcap.zstd')


def test_a_chunk_that_expands_out_of_proportion_is_skipped(tmp_path):
    from depthface_ros.io.storage.parts import zstd_module
    path = Bag(tmp_path / 'bag', compression='storage').fill()
    content = bytearray(storage_file(path).read_bytes())
    bomb = zstd_module().compress(bytes(1 << 28))
    body = struct.pack('<QQQI', 0, 0, 1 << 28, 0) + struct.pack('<I4sQ', 4, b'zstd', len(bomb)) + bomb
    content[8:8] = struct.pack('<BQ', 6, len(body)) + body
    storage_file(path).write_bytes(content)
    assert stamps(open_recording(path)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3', 'ros1'])
def test_bytes_that_change_anywhere_never_end_in_another_error_than_value_error(tmp_path, storage):
    rng = np.random.default_rng(5)
    path = Bag(tmp_path / ('bag.bag' if storage == 'ros1' else 'bag'), storage).fill(3)
    content = (path if path.is_file() else storage_file(path)).read_bytes()
    for i in range(60):
        changed = bytearray(content)
        for place in rng.integers(0, len(changed), 3):
            changed[place] = rng.integers(256)
        if i % 3 == 0:
            del changed[int(rng.integers(len(changed))):]
        file = tmp_path / f'changed.{storage}'
        file.write_bytes(changed)
        try:
            list(open_recording(file))
        except ValueError as found:
            assert '\n' not in str(found)


def test_images_come_as_they_are_when_all_is_well(tmp_path):
    path = Bag(tmp_path / 'bag').fill()
    recording = open_recording(path)
    assert stamps(recording) == [0, 1, 2, 3, 4] and recording.count == 5
    assert recording.rejections.summary(5) == '' and DEPTH.shape == (6, 8)
    assert recording.description == f'depth on {IMAGE_TOPIC}, camera_info on {INFO_TOPIC}'
