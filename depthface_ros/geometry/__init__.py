# SPDX-License-Identifier: Apache-2.0
"""Cameras, rotations, crops, and the arrays they are computed with."""
