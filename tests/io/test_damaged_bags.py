# SPDX-License-Identifier: Apache-2.0
"""Damaged and unfinished bags return what is readable, or the cause in one line."""
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
    IMAGE_TOPIC,
    INFO_TOPIC,
    LARGE,
    LARGE_CAMERA,
    STAMP_NS,
    STEP_NS,
    Bag,
    error,
    numbered,
    stamps,
    storage_file,
)

from depthface_ros.io.recordings import open_recording  # noqa: E402


def large_bag(path, count=8, **options):
    bag = Bag(path, **options)
    for i in range(count):
        stamp_ns = STAMP_NS + i * STEP_NS
        bag.write(INFO_TOPIC, bag.info(LARGE_CAMERA, LARGE), stamp_ns)
        bag.write(IMAGE_TOPIC, bag.image(numbered(i, LARGE), stamp_ns), stamp_ns)
    return bag.close()


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
