# SPDX-License-Identifier: Apache-2.0
"""Depth images of any size, padding and byte order come out as they went in."""

from __future__ import annotations

import array
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from depthface_ros.io.depth_encodings import DTYPES, depth_image, median_depth


@st.composite
def images(draw):
    """A depth image with any content, an encoding for it, a byte order and a row padding."""
    encoding = draw(st.sampled_from(sorted(DTYPES)))
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    pixels = draw(hnp.arrays(DTYPES[encoding], shape))
    return pixels, encoding, draw(st.booleans()), draw(st.integers(0, 9))


def pack(pixels, is_bigendian, padding):
    """Bytes and step of a message with these pixels, by struct."""
    order, kind = '>' if is_bigendian else '<', 'H' if pixels.dtype.kind == 'u' else 'f'
    code = f'{order}{pixels.shape[1]}{kind}'
    rows = [struct.pack(code, *row.tolist()) + b'\xa5' * padding for row in pixels]
    return b''.join(rows), len(rows[0])


@given(images())
def test_what_was_packed_comes_out(case):
    pixels, encoding, is_bigendian, padding = case
    data, step = pack(pixels, is_bigendian, padding)
    found = depth_image(data, encoding, *pixels.shape, step, is_bigendian)
    assert found.dtype == DTYPES[encoding] and found.dtype.isnative
    # NaN payloads may change in struct, so NaN counts as NaN
    np.testing.assert_array_equal(found, pixels)


@given(images(), st.data())
def test_truncated_data_is_an_error_that_tells_the_numbers(case, data):
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


def test_median_depth_ignores_invalid_pixels_and_knows_the_unit():
    assert median_depth(np.array([[0, 1000, 3000, 2000]], np.uint16)) == pytest.approx(2.0)
    metres = np.array([[np.nan, np.inf, -np.inf, -1, 0, 1.5]], np.float32)
    assert median_depth(metres) == pytest.approx(1.5)
    assert median_depth(np.zeros((40, 40), np.uint16)) is None
    lonely = np.zeros((40, 40), np.uint16)
    lonely[3, 5] = 700
    assert median_depth(lonely) == pytest.approx(0.7)
