# SPDX-License-Identifier: Apache-2.0
"""The face mesh: topology, landmarks, mirror symmetry, expressions, action units, frames."""
