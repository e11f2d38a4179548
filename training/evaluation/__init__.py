# SPDX-License-Identifier: Apache-2.0
"""Evaluation of the whole pipeline: frames, errors, groups, tables, plots."""
