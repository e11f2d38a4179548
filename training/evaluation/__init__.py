# SPDX-License-Identifier: Apache-2.0
"""How good the whole pipeline is: frames, errors, groups, tables, plots."""
