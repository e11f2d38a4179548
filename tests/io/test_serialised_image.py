# SPDX-License-Identifier: Apache-2.0
"""Images read from serialised messages equal those that the middleware deserialises, without copies."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip('rclpy')

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from depthface_ros.io.serialised_image import read_image
from depthface_ros.ros import conversions

NUMBERS = st.integers(0, 2**32 - 1)
TEXTS = st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs']), max_size=20)


@st.composite
def images(draw):
    """A message with anything in its fields, whether or not they fit together."""
    message = Image(height=draw(NUMBERS), width=draw(NUMBERS), step=draw(NUMBERS),
                    encoding=draw(TEXTS), is_bigendian=draw(st.integers(0, 255)))
    message.header.frame_id = draw(TEXTS)
    message.header.stamp.sec = draw(st.integers(-2**31, 2**31 - 1))
    message.header.stamp.nanosec = draw(NUMBERS)
    message.data.frombytes(draw(st.binary(max_size=50)))
    return message


def fields(message: Image) -> tuple:
    stamp = message.header.stamp
    return ((stamp.sec, stamp.nanosec), message.header.frame_id, message.height, message.width,
            message.encoding, message.is_bigendian, message.step, bytes(message.data))


@given(images())
def test_every_field_is_read_and_the_pixels_stay_where_they_are(message):
    data = serialize_message(message)
    found = read_image(data)
    assert (*found[:-1], bytes(found.data)) == fields(message)
    assert not message.data or np.shares_memory(found.data, np.frombuffer(data, np.uint8))


@given(images(), st.data())
def test_a_message_that_was_cut_off_is_left_to_the_middleware(message, data):
    message.data.frombytes(b'end')
    whole = serialize_message(message)
    end = whole.rindex(b'end') + 3
    assert read_image(whole[:end]) is not None
    assert read_image(whole[:data.draw(st.integers(0, end - 1))]) is None


@given(images(), st.lists(st.tuples(st.integers(4, 80), st.integers(0, 255)), max_size=3))
def test_noise_is_read_as_the_middleware_reads_it_or_not_at_all(message, noise):
    data = bytearray(serialize_message(message))
    for place, byte in noise:
        data[place % len(data)] = byte
    found = read_image(bytes(data))
    if found is not None:
        assert (*found[:-1], bytes(found.data)) == fields(deserialize_message(bytes(data), Image))


def test_a_message_of_a_big_endian_machine_goes_through_the_middleware():
    head, shape, step = (struct.pack('>' + code, *numbers) for code, *numbers in (
        ('iII4s', 5, 7, 4, b'cam'), ('III6s', 1, 2, 6, b'16UC1'), ('II', 4, 4)))
    data = bytes(4) + head + shape + bytes(2) + step + b'\1\2\3\4'
    assert read_image(data) is None
    assert fields(conversions.received_image(data)) == ((5, 7), 'cam', 1, 2, '16UC1', 0, 4, b'\1\2\3\4')
