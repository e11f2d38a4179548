# SPDX-License-Identifier: Apache-2.0
"""Synthetic people in synthetic rooms, seen by simulated depth cameras."""
