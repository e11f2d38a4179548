# SPDX-License-Identifier: Apache-2.0
"""Tools of the command line: runs on recordings, benchmarks, checks, overlays."""
