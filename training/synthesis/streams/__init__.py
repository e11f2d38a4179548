# SPDX-License-Identifier: Apache-2.0
"""Synthetic streams with truth: people in motion before a depth camera whose errors partly stay."""
