# SPDX-License-Identifier: Apache-2.0
"""One depth image to faces."""
