# SPDX-License-Identifier: Apache-2.0
"""compressedDepth: what an encoder written from the format's description packs comes out again."""
from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
from depth_encoders import encode_png, encode_rvl, header
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from depthface_ros.io.compressed_depth import decompress_depth

cv2 = pytest.importorskip('cv2')

DEPTHS = hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24),
                    elements=st.one_of(st.just(0), st.integers(0, 65535), st.integers(800, 805)))


@given(DEPTHS)
@settings(max_examples=100, deadline=None)
def test_rvl_returns_what_was_packed(image):
    found = decompress_depth(header() + encode_rvl(image), '16UC1; compressedDepth rvl')
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize('format_', ['16UC1; compressedDepth png', '16UC1; compressedDepth', '16UC1',
                                     'mono16; compressedDepth png'])
def test_png_returns_what_was_packed(format_):
    image = np.random.default_rng(0).integers(0, 65536, (7, 5), dtype=np.uint16)
    np.testing.assert_array_equal(decompress_depth(header() + encode_png(image), format_), image)


def test_an_rvl_image_without_any_measurement_is_no_error():
    empty = np.zeros((480, 640), np.uint16)
    found = decompress_depth(header() + encode_rvl(empty), '16UC1; compressedDepth rvl')
    np.testing.assert_array_equal(found, empty)


@pytest.mark.parametrize('method, encode', [('png', encode_png), ('rvl', encode_rvl)])
def test_metres_come_back_within_the_quantisation_step(method, encode):
    """The transport's own defaults: depth_max 10 m and quantisation 100 (codec.cpp)."""
    metres = np.linspace(0.3, 9.9, 60, dtype=np.float32).reshape(6, 10)
    metres[2, 3] = np.nan
    a = 100.0 * 101.0
    b = 1 - a / 10.0
    with np.errstate(invalid='ignore'):
        packed = np.where(np.isnan(metres), 0, a / metres + b).astype(np.uint16)
    found = decompress_depth(header(a, b) + encode(packed), f'32FC1; compressedDepth {method}')
    assert found.dtype == np.float32 and np.isnan(found[2, 3])
    valid = ~np.isnan(metres)
    np.testing.assert_array_less(np.abs(found - metres)[valid], (metres ** 2 / a)[valid] * 1.01 + 1e-6)


@given(DEPTHS, st.data())
@settings(max_examples=100, deadline=None)
def test_truncated_messages_raise_value_error(image, data):
    for method, encode in (('png', encode_png), ('rvl', encode_rvl)):
        message = header() + encode(image)
        cut = data.draw(st.integers(0, len(message) - 8))
        with pytest.raises(ValueError):
            decompress_depth(message[:cut], f'16UC1; compressedDepth {method}')


@given(st.binary(max_size=200), st.sampled_from(['16UC1; compressedDepth rvl', '32FC1; compressedDepth',
                                                 '16UC1; compressedDepth png']))
@settings(max_examples=200, deadline=None)
def test_any_bytes_decode_or_raise_value_error(data, format_):
    with suppress(ValueError):
        decompress_depth(data, format_)


@pytest.mark.parametrize('width, height', [(0, 5), (5, 0), (2 ** 32 - 1, 2 ** 32 - 1), (100_000, 100_000)])
def test_a_size_no_camera_has_is_refused_before_memory_is_taken(width, height):
    rvl = header() + struct.pack('<II', width, height) + bytes(64)
    png = bytearray(header() + encode_png(np.ones((2, 2), np.uint16)))
    struct.pack_into('>II', png, 12 + 16, width, height)
    for message, method in ((rvl, 'rvl'), (png, 'png')):
        with pytest.raises(ValueError, match='claims'):
            decompress_depth(message, f'16UC1; compressedDepth {method}')


def test_eight_bit_png_and_colour_encodings_are_refused():
    with pytest.raises(ValueError, match='16-bit'):
        decompress_depth(header() + encode_png(np.zeros((4, 4), np.uint8)), '16UC1; compressedDepth')
    with pytest.raises(ValueError, match='bgr8'):
        decompress_depth(header() + bytes(9), 'bgr8; jpeg compressed bgr8')
