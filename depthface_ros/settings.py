# SPDX-License-Identifier: Apache-2.0
"""Fields of configuration dataclasses that know what they mean and which values they take."""

from __future__ import annotations

from dataclasses import field


def setting(default, description: str, minimum=None, maximum=None, choices: tuple = ()):
    """A dataclass field from which ROS parameters and command line options can be made.

    :param minimum, maximum: the closed range of a number, or None for any.
    :param choices: the values a text may have, or () for any.
    """
    return field(default=default, metadata={'description': description, 'minimum': minimum,
                                            'maximum': maximum, 'choices': choices})
