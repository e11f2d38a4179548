# SPDX-License-Identifier: Apache-2.0
"""Texts from messages and files, made fit for a log line, an error or diagnostics."""
from __future__ import annotations

LONGEST_QUOTE = 60  # characters of a foreign text that are shown
LONGEST_REPORT = 2000  # characters of a whole report, such as a traceback


def quoted(text: object, limit: int = LONGEST_QUOTE) -> str:
    """Return a foreign text in quotes, escaped and cut.

    Newlines, escape codes and other characters that do not print are escaped, so the text cannot
    forge log lines or reach the terminal. Long texts are cut and their length is given.

    :param text: str, or bytes that should hold UTF-8; anything else is converted with str().
    :param limit: characters of it that are shown.
    """
    if isinstance(text, (bytes, bytearray)):
        length, text = len(text), text[:4 * limit].decode('utf-8', 'backslashreplace')
    else:
        text = str(text)
        length = len(text)
    if length <= limit:
        return repr(text)
    return f'{text[:limit]!r}... ({length} characters)'


def as_name(text: str, limit: int = LONGEST_QUOTE) -> str:
    """Return a foreign name as it is where that is harmless, else quoted."""
    return text if len(text) <= limit and text.isprintable() else quoted(text, limit)


def clipped(text: str, limit: int = LONGEST_REPORT) -> str:
    """Return a report with control characters escaped, except newlines and tabs, and cut.

    For texts that may hold parts of unknown origin, such as tracebacks and errors of libraries.
    """
    length = len(text)
    text = ''.join(character if character.isprintable() or character in '\n\t'
                   else repr(character)[1:-1] for character in text[:limit])
    return text if length <= limit else f'{text}... ({length} characters)'
