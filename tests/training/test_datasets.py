# SPDX-License-Identifier: Apache-2.0
"""Data sets return the frames, people and poses that were written, or report the fault."""
from __future__ import annotations

import json
import struct

import numpy as np
import pytest

cv2 = pytest.importorskip('cv2')
pytest.importorskip('scipy')
hypothesis = pytest.importorskip('hypothesis')

from hypothesis import strategies as st

from training.adapt.datasets import open_dataset
from training.adapt.datasets.biwi import PEOPLE, read_depth, read_pose_binary, read_pose_text

RNG = np.random.default_rng(0)
DEPTH = np.where(RNG.random((12, 16)) < 0.5, RNG.integers(500, 1500, (12, 16)),
                 0).astype(np.uint16)
YAW_30 = np.array([[np.sqrt(0.75), 0, 0.5], [0, 1, 0], [-0.5, 0, np.sqrt(0.75)]])


def run_length_coded(depth):
    """Return width, height, then counts of empty and full pixels before each run of measurements."""
    flat = depth.ravel().astype(int).tolist()
    coded, i = [struct.pack('<ii', depth.shape[1], depth.shape[0])], 0
    while i < len(flat):
        j = i
        while j < len(flat) and flat[j] == 0:
            j += 1
        k = j
        while k < len(flat) and flat[k] > 0:
            k += 1
        coded += [struct.pack('<ii', j - i, k - j), np.array(flat[j:k], '<i2').tobytes()]
        i = k
    return b''.join(coded)


def pose_text(rotation, centre_mm):
    return '\n'.join(' '.join(f'{value:.6f}' for value in row) + ' '
                     for row in rotation) + '\n\n' + ' '.join(
        map(str, centre_mm)) + ' \n'


@pytest.fixture
def biwi(tmp_path):
    for name in ('03', '15'):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'depth.cal').write_text(
            '575.816 0 320 \n0 575.816 240 \n0 0 1 \n\n0 0 0 0 \n\n'
            '1 0 0 \n0 1 0 \n0 0 1 \n\n0 0 0 \n')
        for number in (3, 4):
            (folder / f'frame_{number:05d}_depth.bin').write_bytes(run_length_coded(DEPTH))
            pose = pose_text(YAW_30, (10.5, -20, 906.9))
            (folder / f'frame_{number:05d}_pose.txt').write_text(pose)
    return tmp_path


def test_biwi_gives_depth_camera_person_and_pose(biwi):
    dataset = open_dataset('biwi', biwi)
    samples = list(dataset)
    assert len(samples) == 4 and dataset.people == ('F03',)  # one person, recorded twice
    assert len(PEOPLE) == 24 and len(set(PEOPLE)) == 20
    np.testing.assert_array_equal(samples[0].frame.depth, DEPTH)
    assert samples[0].frame.depth.dtype == np.uint16
    assert (samples[0].frame.intrinsics.fx, samples[0].frame.intrinsics.cy) == (575.816, 240)
    np.testing.assert_allclose(samples[0].camera_from_head[:3, 3], [0.0105, -0.02, 0.9069])


def test_biwi_rotations_turn_head_axes_into_camera_axes(biwi):
    """Turned by 30 degrees about y, down, the nose (-z) points to the left of the image."""
    sample = next(iter(open_dataset('biwi', biwi)))
    nose = sample.camera_from_head[:3, :3] @ [0, 0, -1]
    np.testing.assert_allclose(nose, [-0.5, 0, -np.sqrt(0.75)], atol=1e-6)
    binary = biwi / 'pose.bin'
    binary.write_bytes(struct.pack('<6f', 10.5, -20, 906.9, 0, 30, 0))
    np.testing.assert_allclose(read_pose_binary(binary), sample.camera_from_head, atol=1e-6)
    binary.write_bytes(struct.pack('<6f', 0, 0, 900, -20, 0, 0))
    assert (read_pose_binary(binary)[:3, :3] @ [0, 0, -1])[1] < -0.3  # lifted
    binary.write_bytes(struct.pack('<6f', 0, 0, 900, 0, 0, 25))
    assert (read_pose_binary(binary)[:3, :3] @ [1, 0, 0])[1] > 0.3  # the right of the image sinks


def test_biwi_poses_in_both_formats_must_agree(biwi):
    annotations = biwi / 'db_annotations' / '03'
    annotations.mkdir(parents=True)
    file = annotations / 'frame_00003_pose.bin'
    file.write_bytes(struct.pack('<6f', 10.5, -20, 906.9, 0, 30, 0))
    assert len(list(open_dataset('biwi', biwi))) == 4
    file.write_bytes(struct.pack('<6f', 10.5, -20, 906.9, 0, -30, 0))
    with pytest.raises(ValueError, match='disagree by 60.0 degrees'):
        list(open_dataset('biwi', biwi))


@hypothesis.given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2 ** 32 - 1))
@hypothesis.settings(max_examples=50, deadline=None)
def test_run_length_coding_loses_nothing(tmp_path_factory, height, width, seed):
    rng = np.random.default_rng(seed)
    full = rng.random((height, width)) < rng.random()
    depth = np.where(full, rng.integers(0, 32768, full.shape), 0).astype(np.uint16)
    file = tmp_path_factory.mktemp('depth') / 'frame_00001_depth.bin'
    file.write_bytes(run_length_coded(depth))
    np.testing.assert_array_equal(read_depth(file), depth)


@hypothesis.given(st.binary(max_size=200), st.integers(0, 400))
@hypothesis.settings(max_examples=100, deadline=None)
def test_broken_depth_never_passes_and_never_crashes(tmp_path_factory, noise, cut):
    file = tmp_path_factory.mktemp('depth') / 'broken_depth.bin'
    whole = run_length_coded(DEPTH)
    for content in (noise[:7], whole[:min(cut, len(whole) - 1)],
                    b'\x10\0\0\0\x0c\0\0\0' + noise[:100]):
        file.write_bytes(content)
        try:
            assert read_depth(file).shape == (12, 16)
        except ValueError as error:
            assert str(file) in str(error)
        else:
            assert content[8:] == noise[:100]  # by chance a whole image


@pytest.mark.parametrize('content, complaint', [
    (b'abc', '3 bytes'),
    (struct.pack('<ii', 0, 5), '0x5 pixels'),
    (struct.pack('<ii', 10 ** 6, 10 ** 6), 'pixels: is this'),
    (struct.pack('<iiii', 4, 2, 9, 0), 'does not fit'),
    (struct.pack('<iiii', 4, 2, -1, 1), 'does not fit'),
    (struct.pack('<iiii', 4, 2, 0, 0), 'does not fit'),
    (struct.pack('<iiii', 4, 2, 4, 4), 'middle of 4'),
    (struct.pack('<iiii', 4, 2, 4, 0), 'ends after 4 of 8'),
    (struct.pack('<iiiihh', 2, 1, 0, 2, 5, -5), 'negative')])
def test_each_way_depth_can_be_broken_has_its_error(tmp_path, content, complaint):
    file = tmp_path / 'frame_00001_depth.bin'
    file.write_bytes(content)
    with pytest.raises(ValueError, match=complaint):
        read_depth(file)


@pytest.mark.parametrize('text, complaint', [
    (pose_text(2 * YAW_30, (0, 0, 900)), 'not a rotation'),
    (pose_text(YAW_30, (0, 0, float('nan'))), 'not finite'),
    (pose_text(np.diag([1, 1, -1.]), (0, 0, 900)), 'not a rotation'),
    ('1 2 3', 'holds 3 numbers'), ('one two', 'expected numbers')])
def test_each_way_a_pose_can_be_broken_has_its_error(tmp_path, text, complaint):
    file = tmp_path / 'frame_00001_pose.txt'
    file.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        read_pose_text(file)


def test_biwi_without_sequences_or_calibration(biwi, tmp_path_factory):
    with pytest.raises(ValueError, match='expected sequences'):
        open_dataset('biwi', tmp_path_factory.mktemp('empty'))
    (biwi / '03' / 'depth.cal').write_text('1 2 3')
    with pytest.raises(ValueError, match='3x3 camera matrix'):
        list(open_dataset('biwi', biwi))
    (biwi / 'pose.bin').write_bytes(b'12345')
    with pytest.raises(ValueError, match='5 bytes'):
        read_pose_binary(biwi / 'pose.bin')


@pytest.fixture
def pandora(tmp_path):
    for person in ('01_base_1', '01_base_2', '02_free_1'):
        folder = tmp_path / person
        folder.mkdir()
        for number in (7, 8):
            cv2.imwrite(str(folder / f'{number:06d}_DEPTH.png'), DEPTH)
        (folder / 'angles.csv').write_text(
            'frame,pitch,yaw,roll,x,y,z\n7, 0, 30, 0, 0.1, 0, 1.2\n8, 0, 0, 10\n')
    (tmp_path / 'camera.json').write_text(json.dumps({'fx': 300, 'fy': 301, 'cx': 8, 'cy': 6}))
    return tmp_path


def test_pandora_gives_depth_camera_people_and_poses(pandora):
    dataset = open_dataset('pandora', pandora)
    samples = list(dataset)
    assert dataset.people == ('01', '02') and len(samples) == 6
    np.testing.assert_array_equal(samples[0].frame.depth, DEPTH)
    assert samples[0].frame.intrinsics.fy == 301
    np.testing.assert_allclose(samples[0].camera_from_head[:3, :3], YAW_30, atol=1e-9)
    np.testing.assert_allclose(samples[0].camera_from_head[:3, 3], [0.1, 0, 1.2])
    assert np.isnan(samples[1].camera_from_head[:3, 3]).all()


@pytest.mark.parametrize('table, complaint', [
    ('7, 0, 30', 'line 1'), ('7, 0, x, 0', 'line 1'), ('7, 0, nan, 0', 'line 1'),
    ('frame,pitch\n', 'no poses'), ('9, 0, 0, 0', 'names frame 9')])
def test_each_way_a_pandora_table_can_be_broken_has_its_error(pandora, table, complaint):
    (pandora / '01_base_1' / 'angles.csv').write_text(table)
    with pytest.raises(ValueError, match=complaint):
        list(open_dataset('pandora', pandora))


def test_pandora_images_of_another_size_need_a_camera(pandora):
    (pandora / 'camera.json').unlink()
    with pytest.raises(ValueError, match='put a camera.json'):
        list(open_dataset('pandora', pandora))
    with pytest.raises(ValueError, match='expected sequences'):
        (pandora / 'empty').mkdir()
        open_dataset('pandora', pandora / 'empty')


def test_kinect_crops_come_in_their_true_size_with_their_person(tmp_path):
    np.savez(tmp_path / 'frames.npz', depth_mm=np.stack([DEPTH, DEPTH]),
             size_hw=np.array([[10, 9], [12, 16]]),
             session=np.array([4, 5]))
    dataset = open_dataset('kinect2-crops', tmp_path)
    samples = list(dataset)
    assert dataset.people == ('4', '5') and [sample.person for sample in samples] == ['4', '5']
    np.testing.assert_array_equal(samples[0].frame.depth, DEPTH[:10, :9])
    assert (samples[0].frame.intrinsics.fx, samples[0].frame.intrinsics.cx) == (365, 4)
    np.savez(tmp_path / 'frames.npz', depth_mm=DEPTH[None])
    with pytest.raises(ValueError, match='who each crop shows'):
        open_dataset('kinect2-crops', tmp_path)


def test_folders_of_pngs_and_unknown_kinds(tmp_path):
    cv2.imwrite(str(tmp_path / 'frame_1.png'), DEPTH)
    (tmp_path / 'camera.json').write_text(json.dumps({'fx': 300, 'fy': 301, 'cx': 8, 'cy': 6}))
    [sample] = open_dataset('frames', tmp_path)
    np.testing.assert_array_equal(sample.frame.depth, DEPTH)
    assert sample.camera_from_head is None and sample.frame.intrinsics.fy == 301
    with pytest.raises(ValueError, match="data set 'bywi': expected one of biwi"):
        open_dataset('bywi', tmp_path)
    with pytest.raises(FileNotFoundError, match='does not exist'):
        open_dataset('biwi', tmp_path / 'nowhere')
