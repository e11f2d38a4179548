# SPDX-License-Identifier: Apache-2.0
"""Adaptation to a camera: domain adaptation, fine-tuning, data sets of real frames."""
