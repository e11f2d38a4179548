# SPDX-License-Identifier: Apache-2.0
"""Depth images of any size, padding and byte order are decoded exactly."""

from __future__ import annotations

import array
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from depthface_ros.io.depth_encodings import (
    DTYPES,
    depth_image,
    in_unit,
    is_depth_encoding,
    median_depth,
    unit_problem,
)


@st.composite
def images(draw):
    """A depth image with any content, an encoding for it, a byte order and a row padding."""
    encoding = draw(st.sampled_from(sorted(DTYPES)))
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    pixels = draw(hnp.arrays(DTYPES[encoding], shape))
    return pixels, encoding, draw(st.booleans()), draw(st.integers(0, 9))


def pack(pixels, is_bigendian, padding):
    """Return bytes and step of a message with these pixels, packed by struct."""
    order, kind = '>' if is_bigendian else '<', 'H' if pixels.dtype.kind == 'u' else 'f'
    code = f'{order}{pixels.shape[1]}{kind}'
    rows = [struct.pack(code, *row.tolist()) + b'\xa5' * padding for row in pixels]
    return b''.join(rows), len(rows[0])


@given(images())
def test_packed_pixels_are_restored(case):
    pixels, encoding, is_bigendian, padding = case
    data, step = pack(pixels, is_bigendian, padding)
    found = depth_image(data, encoding, *pixels.shape, step, is_bigendian)
    assert found.dtype == DTYPES[encoding] and found.dtype.isnative
    # NaN payloads may change in struct, so NaN counts as NaN
    np.testing.assert_array_equal(found, pixels)


@given(images(), st.data())
def test_truncated_data_is_an_error_with_the_numbers(case, data):
    pixels, encoding, is_bigendian, padding = case
    packed, step = pack(pixels, is_bigendian, padding)
    missing = data.draw(st.integers(padding + 1, len(packed)))
    with pytest.raises(ValueError, match=f'{len(packed) - missing} bytes.*expected {len(packed)}'):
        depth_image(packed[:-missing], encoding, *pixels.shape, step, is_bigendian)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 20), st.binary(max_size=60),
       st.sampled_from([*DTYPES, 'rgb8', '16SC1', '64FC1', '', '16UC1 ']), st.booleans())
def test_any_other_input_gives_an_image_or_a_value_error(height, width, step, data, encoding, big):
    try:
        found = depth_image(data, encoding, height, width, step, big)
    except ValueError as error:
        assert 'expected' in str(error)
    else:
        assert found.shape == (height, width)


@pytest.mark.parametrize('buffer', [bytes, bytearray, lambda b: array.array('B', b),
                                    lambda b: np.frombuffer(b, np.uint8)])
def test_native_data_is_not_copied(buffer):
    data = buffer(b'\x01\x00\x02\x00\xff\xff' * 2)
    image = depth_image(data, '16UC1', 2, 2, 6)
    assert np.shares_memory(image, np.frombuffer(data, np.uint8))
    assert image.tolist() == [[1, 2], [1, 2]]


def test_the_padding_of_the_last_row_may_be_missing():
    assert depth_image(b'\x01\x00\xff\xff\x02\x00', 'mono16', 2, 1, 4).tolist() == [[1], [2]]


def test_median_depth_ignores_invalid_pixels_and_respects_the_unit():
    assert median_depth(np.array([[0, 1000, 3000, 2000]], np.uint16)) == pytest.approx(2.0)
    metres = np.array([[np.nan, np.inf, -np.inf, -1, 0, 1.5]], np.float32)
    assert median_depth(metres) == pytest.approx(1.5)
    assert median_depth(np.zeros((40, 40), np.uint16)) is None
    lonely = np.zeros((40, 40), np.uint16)
    lonely[3, 5] = 700
    assert median_depth(lonely) == pytest.approx(0.7)


ROW = np.array([[0, 1, 1000, 65535]], np.uint16)


@pytest.mark.parametrize('encoding', ['16UC1', 'TYPE_16UC1', 'type_16uc1', '16uc1', '16UC', 'MONO16',
                                      ' 16UC1 ', '16UC1\0', 'Z16'])
def test_encodings_by_other_spellings(encoding):
    found = depth_image(ROW.tobytes(), encoding, 1, 4, 8)
    np.testing.assert_array_equal(found, ROW)
    assert is_depth_encoding(encoding)


@pytest.mark.parametrize('encoding, dtype', [('16SC1', 'i2'), ('32SC1', 'i4')])
@pytest.mark.parametrize('order', '<>')
def test_signed_integers_are_millimetres(encoding, dtype, order):
    values = np.array([[-5, 0, 1000, 32000]], order + dtype)
    found = depth_image(values.tobytes(), encoding, 1, 4, values.nbytes, order == '>')
    assert found.dtype == np.uint16 and found.tolist() == [[0, 0, 1000, 32000]]


@pytest.mark.parametrize('encoding, text', [
    ('64FC1', 'publish it as 32FC1'), ('mono8', '8 bits'), ('8UC1', '8 bits'), ('rgb8', 'colour'),
    ('bgr8', 'colour'), ('8UC3', 'colour'), ('bayer_rggb8', 'colour'), ('32FC3', 'channels'),
    ('16UC2', 'channels'), ('', 'unknown'), ('y' * 100_000, 'unknown'), ('\n[ERROR]', 'unknown')])
def test_other_encodings_are_refused_with_advice(encoding, text):
    assert not is_depth_encoding(encoding)
    with pytest.raises(ValueError, match=text) as caught:
        depth_image(bytes(64), encoding, 2, 2, 16)
    assert len(str(caught.value)) < 300 and '\n' not in str(caught.value)


@pytest.mark.parametrize('encoding, values, unit_m, metres', [
    ('16UC1', [0, 1, 10000, 65535], 0.0001, [0, 0.0001, 1, 0]),
    ('16UC1', [0, 1, 4000, 65535], 0.00025, [0, 0.00025, 1, 0]),
    ('16SC1', [-1, 0, 100, 200], 0.01, [0, 0, 1, 2]),
    ('32SC1', [-1, 0, 1000000, 2000000], 1e-6, [0, 0, 1, 2]),
    ('32FC1', [np.nan, -1, 1000, 1500], 0.001, [0, 0, 1, 1.5])])
def test_other_units_become_metres(encoding, values, unit_m, metres):
    dtype = {'16UC1': 'u2', '16SC1': 'i2', '32SC1': 'i4', '32FC1': 'f4'}[encoding]
    data = np.array([values], dtype)
    found = depth_image(data.tobytes(), encoding, 1, 4, data.nbytes, unit_m=unit_m)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [metres], rtol=1e-6)


@pytest.mark.parametrize('encoding, unit_m', [('16UC1', 0.001), ('32FC1', 1.0), ('16UC1', None)])
def test_the_unit_of_the_encoding_costs_nothing(encoding, unit_m):
    data = bytes(16)
    found = depth_image(data, encoding, 2, 2, 8, unit_m=unit_m)
    assert np.shares_memory(found, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize('unit_m', [0.0, -0.001, float('nan'), float('inf'), 1e-9, 1000.0])
def test_units_that_no_camera_has_are_refused(unit_m):
    with pytest.raises(ValueError, match='depth unit'):
        in_unit(ROW, unit_m)


def test_invalid_values_do_not_count_for_the_median():
    assert median_depth(np.array([[65535, 65535, 800]], np.uint16)) == pytest.approx(0.8)
    floats = np.array([[1e10, np.finfo('f4').max, np.inf, 1.5]], np.float32)
    assert median_depth(floats) == pytest.approx(1.5)
    assert median_depth(np.full((4, 4), 65535, np.uint16)) is None


@pytest.mark.parametrize('median_m, wrong', [(0.8, False), (3.0, False), (800.0, True), (0.002, True)])
def test_an_implausible_unit_is_named_with_what_to_set(median_m, wrong):
    found = unit_problem(median_m, '32FC1')
    assert bool(found) == wrong
    if wrong:
        assert f'{median_m:g} m' in found and 'depth_unit' in found


@pytest.mark.parametrize('height, width, step', [(2**31, 2**31, 2**32), (2**32 - 1, 1, 2**32 - 1),
                                                 (1, 2**32 - 1, 2**32 - 2)])
def test_sizes_that_overflow_32_bits_are_truncated_messages(height, width, step):
    with pytest.raises(ValueError, match='truncated|step'):
        depth_image(bytes(100), '16UC1', height, width, step)
