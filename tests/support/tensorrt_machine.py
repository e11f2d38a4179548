# SPDX-License-Identifier: Apache-2.0
"""A machine with a TensorRT, a CUDA and a cache folder of its own, none of which is real."""
from __future__ import annotations

import sys
import types

import fake_tensorrt
from fake_cuda import FakeCuda

from depthface_ros import engines
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.engines.tensorrt.trt_engine import TensorRt


class Machine:
    """Opens engines; remembers what they reported. `fail` names calls that shall fail."""

    def __init__(self, monkeypatch, folder):
        self.monkeypatch, self.reports, self.fail = monkeypatch, [], {}
        monkeypatch.setattr(engines, '_has_nvidia_driver', lambda: True)
        monkeypatch.setenv('XDG_CACHE_HOME', str(folder))
        self.cache = folder / 'depthface_ros' / 'tensorrt' / 'fake-orin'
        self.install('10.3.0')

    def install(self, flavour):
        """Another TensorRT, and a process that starts anew."""
        self.cuda = FakeCuda()
        self.trt = fake_tensorrt.make(flavour, self.cuda, self.fail)
        modules = {'tensorrt': self.trt, 'cuda': types.ModuleType('cuda'),
                   'cuda.bindings': types.ModuleType('cuda.bindings')}
        modules['cuda.bindings'].runtime = self.cuda
        for name, module in modules.items():
            self.monkeypatch.setitem(sys.modules, name, module)
        return self

    def open(self, **options):
        self.reports.clear()
        return TensorRt(MODELS_FOLDER, report=self.reports.append, **options)

    @property
    def builds(self):
        return self.trt._state.builds
