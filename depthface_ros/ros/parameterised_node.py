# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node with this project's parameters, which may change while it runs."""

from __future__ import annotations

from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter

from depthface_ros.ros.parameters import (
    Parameters,
    as_declared,
    declare_parameters,
    old_names,
    read_at,
    read_parameters,
    removed_names,
)


class ParameterisedNode(LifecycleNode):
    """Declares the parameters, checks each change, and keeps the current :class:`Parameters`.

    :attr settings: replaced as a whole by each change; other threads may keep the old one.
    :attr configured: set while parameters that are read at configure must not change.
    """

    def __init__(self, name: str, **options):
        super().__init__(name, **options)
        self.configured = False
        for old in declare_parameters(self):
            self._warn_of_old(old)
        self.settings = Parameters()
        self.add_on_set_parameters_callback(self._on_set_parameters)

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Set parameters, under their current or old names; numbers may be whole ones.

        Removed parameters are accepted without effect.

        Read-only parameters accept their current values, so that `ros2 param load` accepts the
        output of `ros2 param dump`.
        """
        for removed in [each.name for each in parameter_list if each.name in removed_names()]:
            self._warn_of_old(removed)
        named = [self._by_current_name(parameter) for parameter in parameter_list
                 if parameter.name not in removed_names()]
        typed = [self._by_declared_type(parameter) for parameter in named]
        changed = [parameter for parameter in typed if not self._keeps_read_only(parameter)]
        if not changed:
            return SetParametersResult(successful=True)
        return super().set_parameters_atomically(changed)

    def _by_current_name(self, parameter: Parameter) -> Parameter:
        current = old_names().get(parameter.name)
        if current is None:
            return parameter
        self._warn_of_old(parameter.name)
        return Parameter(current, parameter.type_, parameter.value)

    def _by_declared_type(self, parameter: Parameter) -> Parameter:
        """Return the parameter with a whole number as a float where it is declared as one."""
        if not self.has_parameter(parameter.name):
            return parameter
        value = as_declared(parameter.value, self.get_parameter(parameter.name).value)
        return Parameter(parameter.name, value=value) if value is not parameter.value else parameter

    def _warn_of_old(self, name: str) -> None:
        current = old_names().get(name)
        state = (f'is called {current} now; the old name' if current
                 else 'has no effect any more; it')
        self.get_logger().warning(f'parameter {name} {state} is accepted for one release')

    def _keeps_read_only(self, parameter: Parameter) -> bool:
        return (self.has_parameter(parameter.name)
                and self.describe_parameter(parameter.name).read_only
                and self.get_parameter(parameter.name).value == parameter.value)

    def _on_set_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Reject values that are invalid or would have no effect; accept and apply the others."""
        for parameter in parameters:
            if (self.configured and read_at(parameter.name) == 'configure'
                    and parameter.value != self.get_parameter(parameter.name).value):
                return SetParametersResult(successful=False, reason=(
                    f'{parameter.name} is read when the node is configured: deactivate and clean '
                    'up first'))
        try:
            self.settings = read_parameters(
                self, {parameter.name: parameter.value for parameter in parameters})
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)
