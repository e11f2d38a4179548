# SPDX-License-Identifier: Apache-2.0
"""Random people from two generators, with hair, clothes and expressions."""
