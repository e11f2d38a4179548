# SPDX-License-Identifier: Apache-2.0
"""What the command line offers: runs on recordings, benchmarks, checks, overlays."""
