# SPDX-License-Identifier: Apache-2.0
"""A stream of depth images to tracked faces."""
