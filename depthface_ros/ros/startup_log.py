# SPDX-License-Identifier: Apache-2.0
"""Describe engine, networks and camera in one line each, for the log and diagnostics."""

from __future__ import annotations

import logging
from pathlib import Path

from depthface_ros.engines import MODELS_FOLDER, Engine
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.model_file import float_file, hash_and_fault
from depthface_ros.geometry.camera import Intrinsics


def describe_engine(engine: Engine) -> str:
    """Return name and description, such as 'cpu: onnxruntime 1.20, 1 thread'."""
    return f'{engine.name}: {engine.description}'


def describe_models(folder: str | Path = MODELS_FOLDER) -> str:
    """Return the networks of a folder with the first digits of their hashes, and faulty cards."""
    parts = []
    for network in NETWORKS:
        digest, fault = hash_and_fault(float_file(Path(folder), network))
        parts.append(f'{network} {digest[:8]}' + (f' ({fault})' if fault else ''))
    return ', '.join(parts)


def describe_camera(intrinsics: Intrinsics) -> str:
    """Return the focal length and the treatment of lens distortion."""
    text = f'focal length {intrinsics.fx:.1f} x {intrinsics.fy:.1f} px'
    if intrinsics.distortion:
        return (f'{text}, {intrinsics.distortion_model} distortion with '
                f'{len(intrinsics.distortion)} coefficients, which is taken into account')
    return f'{text}, no distortion'


class ToRosLog(logging.Handler):
    """Forwards log records of the core to ROS, such as the progress of an engine's build.

    :param logger: of an rclpy node.
    """

    def __init__(self, logger):
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:  # rclpy requires one line of code for each severity
            self._logger.error(record.getMessage())
        elif record.levelno >= logging.WARNING:
            self._logger.warning(record.getMessage())
        else:
            self._logger.info(record.getMessage())
