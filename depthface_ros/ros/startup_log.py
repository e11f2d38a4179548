# SPDX-License-Identifier: Apache-2.0
"""What the node runs on, in words: one line each in the log, so that a fault is seen at once."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from depthface_ros.engines import MODELS_FOLDER, Engine
from depthface_ros.geometry.camera import Intrinsics


def describe_engine(engine: Engine) -> str:
    """Such as 'cpu: onnxruntime 1.20, 1 thread'."""
    return f'{engine.name}: {engine.description}'


def describe_models(folder: Path = MODELS_FOLDER) -> str:
    """The networks of a folder by the beginnings of their checksums, as their cards have them."""
    cards = [json.loads(file.read_text()) for file in sorted(Path(folder).glob('*.json'))]
    return ', '.join(f'{card["network"]} {card["sha256"][:8]}' for card in cards
                     if {'network', 'sha256'} <= card.keys())


def describe_camera(intrinsics: Intrinsics) -> str:
    """Focal length, and what is done about the lens."""
    text = f'focal length {intrinsics.fx:.1f} x {intrinsics.fy:.1f} px'
    if intrinsics.distortion:
        return (f'{text}, {intrinsics.distortion_model} distortion with '
                f'{len(intrinsics.distortion)} coefficients, which is taken into account')
    return f'{text}, no distortion'


class ToRosLog(logging.Handler):
    """Passes on what the core logs, such as how far the build of an engine is.

    :param logger: of an rclpy node.
    """

    def __init__(self, logger):
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:  # rclpy wants one line of code for each severity
            self._logger.error(record.getMessage())
        elif record.levelno >= logging.WARNING:
            self._logger.warning(record.getMessage())
        else:
            self._logger.info(record.getMessage())
