# SPDX-License-Identifier: Apache-2.0
"""Rooms, cameras, occluders, and views of them."""
