# SPDX-License-Identifier: Apache-2.0
"""Tracking of faces in a stream of depth images."""
