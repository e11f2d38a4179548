# SPDX-License-Identifier: Apache-2.0
"""Builders of the assets that ship: face model, face modes, sample recording."""
