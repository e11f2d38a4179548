# SPDX-License-Identifier: Apache-2.0
"""Calibration of confidences and uncertainties, and the error prior of the alignment."""
