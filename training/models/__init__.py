# SPDX-License-Identifier: Apache-2.0
"""The networks, and the files that they are exported to."""
