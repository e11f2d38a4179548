# SPDX-License-Identifier: Apache-2.0
"""Ablations and studies. Not part of `python -m training`; free to be deleted."""
