# SPDX-License-Identifier: Apache-2.0
"""Networks on TensorRT."""
