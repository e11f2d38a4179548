# SPDX-License-Identifier: Apache-2.0
"""The offline half of depthface_ros: synthesis, training, export and evaluation of its networks."""
