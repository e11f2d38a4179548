# SPDX-License-Identifier: Apache-2.0
"""compressedDepth: decoding restores the output of an encoder written from the specification."""
from __future__ import annotations

import struct
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from depth_encoders import encode_png, encode_rvl, header
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from depthface_ros.io.compressed_depth import (
    CompressedDepth,
    decompress_depth,
    is_depth_format,
    raw_topic,
)

cv2 = pytest.importorskip('cv2')

DEPTHS = hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24),
                    elements=st.one_of(st.just(0), st.integers(0, 65535), st.integers(800, 805)))


@given(DEPTHS)
@settings(max_examples=100, deadline=None)
def test_rvl_restores_packed_pixels(image):
    found = decompress_depth(header() + encode_rvl(image), '16UC1; compressedDepth rvl')
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize('format_', ['16UC1; compressedDepth png', '16UC1; compressedDepth', '16UC1',
                                     'mono16; compressedDepth png'])
def test_png_restores_packed_pixels(format_):
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


IMAGE = np.random.default_rng(1).integers(1, 5000, (6, 8), dtype=np.uint16)


@pytest.mark.parametrize('format_', ['16UC1; png compressed ', 'mono16; png compressed mono16', 'png',
                                     '', '16UC1', '16UC1; compressedDepth png', 'TYPE_16UC1; png'])
def test_a_png_alone_as_the_compressed_transport_sends_it(format_):
    np.testing.assert_array_equal(decompress_depth(encode_png(IMAGE), format_), IMAGE)
    assert is_depth_format(format_)


@pytest.mark.parametrize('format_, text', [
    ('bgr8; jpeg compressed bgr8', 'jpeg.*to png'), ('bgr8; png compressed bgr8', 'colour'),
    ('32FC1; png compressed ', 'quantised'), ('64FC1; compressedDepth png', 'float32'),
    ('16UC1; tiff compressed ', 'tiff'), ('x' * 100_000, 'unknown')])
def test_formats_that_carry_no_depth_are_refused_with_advice(format_, text):
    with pytest.raises(ValueError, match=text) as caught:
        decompress_depth(encode_png(IMAGE), format_)
    assert len(str(caught.value)) < 600


def test_the_unit_of_compressed_pixels():
    found = decompress_depth(encode_png(IMAGE), 'png', 0.0001)
    np.testing.assert_allclose(found, IMAGE * 1e-4, rtol=1e-6)


def test_the_size_is_known_before_decoding():
    for payload, codec in ((encode_png(IMAGE), 'png'), (encode_rvl(IMAGE), 'rvl')):
        image = CompressedDepth(header() + payload, f'16UC1; compressedDepth {codec}')
        assert (image.height, image.width) == IMAGE.shape


@pytest.mark.parametrize('topic', ['/depth/image', '/depth/image/compressed', '/depth/image/compressedDepth'])
def test_the_topic_without_its_transport(topic):
    assert raw_topic(topic) == '/depth/image'


def chunk(kind: bytes, data: bytes, length=None) -> bytes:
    return (struct.pack('>I', len(data) if length is None else length) + kind + data
            + struct.pack('>I', zlib.crc32(kind + data)))


def png(width: int, height: int, *chunks: bytes, end: bytes = chunk(b'IEND', b'')) -> bytes:
    fields = struct.pack('>IIBBBBB', width, height, 16, 0, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', fields) + b''.join(chunks) + end


PIXELS = zlib.compress(b''.join(b'\0' + row.astype('>u2').tobytes() for row in IMAGE))
HOSTILE = {
    'length of a chunk': (png(8, 6, chunk(b'tEXt', b'', 2**32 - 1)), 'png', 'claims'),
    'length of pixels': (png(8, 6, chunk(b'IDAT', PIXELS, 2**31)), 'png', 'claims'),
    'more pixels than bytes': (png(4000, 4000, chunk(b'IDAT', PIXELS)), 'png', 'can hold'),
    'no end': (png(8, 6, chunk(b'IDAT', PIXELS), end=b''), 'png', 'truncated'),
    'no pixels': (png(8, 6), 'png', 'does not decode'),
    'fewer pixels': (png(8, 6, chunk(b'IDAT', zlib.compress(bytes(20)))), 'png', 'does not decode'),
    'wrong checksum': (png(8, 6, chunk(b'IDAT', PIXELS)[:-1] + b'x'), 'png', 'checksum'),
    'many chunks': (png(8, 6, chunk(b'tEXt', b'') * 70_000), 'png', 'chunks'),
    'longer than its pixels': (struct.pack('<II', 1, 1) + bytes(8 << 20), 'rvl', 'at most'),
    'runs of nothing': (struct.pack('<II', 20, 20) + bytes(1000), 'rvl', 'no pixels'),
    'size of no camera': (struct.pack('<II', 2**31, 2**31) + bytes(1000), 'rvl', 'claims'),
    'one long number': (struct.pack('<II', 20, 20) + b'\xff' * 1000, 'rvl', 'no valid numbers'),
}


@pytest.mark.parametrize('case', HOSTILE)
def test_the_cost_of_a_message_is_bounded_by_its_bytes_and_pixels(case):
    payload, codec, text = HOSTILE[case]
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=text):
            decompress_depth(header() + payload, f'16UC1; compressedDepth {codec}')
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(payload) + 1e6


def test_bombs_beside_the_pixels_are_not_unpacked():
    bomb = b'x\0\0' + zlib.compress(bytes(1 << 24))
    data = png(8, 6, chunk(b'zTXt', bomb), chunk(b'iCCP', bomb), chunk(b'IDAT', PIXELS))
    np.testing.assert_array_equal(decompress_depth(data, 'png'), IMAGE)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('a', [0.0, -1.0, float('nan'), float('inf'), 1e-38, 3e38])
@pytest.mark.parametrize('b', [0.0, -1000.0, 2000.0, float('nan'), float('inf')])
def test_any_quantisation_gives_depth_or_an_error(a, b):
    try:
        found = decompress_depth(header(a, b) + encode_png(IMAGE), '32FC1; compressedDepth png')
    except ValueError as error:
        assert 'quantisation' in str(error)
    else:
        assert found.dtype == np.float32 and np.isfinite(a) and a > 0
