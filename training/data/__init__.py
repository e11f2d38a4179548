# SPDX-License-Identifier: Apache-2.0
"""Rendered data sets and the batches that are drawn from them."""
