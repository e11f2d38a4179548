# SPDX-License-Identifier: Apache-2.0
"""External texts cannot forge log lines, control the terminal or fill memory."""
from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthface_ros.io.quoting import LONGEST_QUOTE, LONGEST_REPORT, as_name, clipped, quoted


@given(st.text())
def test_a_quoted_text_is_one_printable_line_of_bounded_length(text):
    shown = quoted(text)
    assert shown.isprintable() and len(shown) <= 10 * LONGEST_QUOTE + 40


@given(st.text(max_size=LONGEST_QUOTE))
def test_a_short_text_can_be_read_back(text):
    assert ast.literal_eval(quoted(text)) == text


def test_a_long_text_is_cut_and_its_length_given():
    assert quoted('x' * 200_000) == repr('x' * LONGEST_QUOTE) + '... (200000 characters)'


@pytest.mark.parametrize('text', ['16UC1\n[ERROR] forged', '\x1b[31mred', 'a\x00b', '\u202egnp',
                                  '\udcff'])
def test_control_characters_are_escaped(text):
    assert quoted(text).isprintable() and clipped(text.replace('\n', '')).isprintable()


@given(st.text())
def test_a_name_is_left_alone_or_quoted(text):
    assert as_name(text) in (text, quoted(text)) and as_name(text).isprintable()


@pytest.mark.parametrize('value, shown', [(b'16UC1', "'16UC1'"), (b'\xff\x00', "'\\\\xff\\x00'"),
                                          (12, "'12'"), (None, "'None'")])
def test_bytes_and_other_objects_are_quoted_as_texts(value, shown):
    assert quoted(value) == shown


@given(st.text(), st.integers(0, 30))
def test_a_clipped_report_keeps_its_lines_and_no_other_control_characters(text, limit):
    shown = clipped(text, limit)
    assert shown.count('\n') == text[:limit].count('\n')
    assert shown.replace('\n', '').replace('\t', '').isprintable()


def test_a_report_that_is_short_and_plain_is_left_alone():
    report = 'Traceback:\n  File "node.py"\n'
    assert clipped(report) == report
    assert clipped('x' * 10 ** 6).startswith('x' * LONGEST_REPORT + '... (1000000')
