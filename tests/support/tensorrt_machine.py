# SPDX-License-Identifier: Apache-2.0
"""A simulated machine with stand-ins for TensorRT and CUDA, and a cache folder of its own."""
from __future__ import annotations

import sys
import types

import fake_tensorrt
from fake_cuda import FakeCuda

from depthface_ros import engines
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.engines.tensorrt import plans
from depthface_ros.engines.tensorrt.trt_engine import TensorRt

ORIN, RTX_4090 = ('Fake Orin', 8, 7), ('Fake RTX 4090', 8, 9)


class Machine:
    """Opens engines and keeps their reports. `fail` names calls that fail."""

    def __init__(self, monkeypatch, folder):
        self.monkeypatch, self.reports, self.fail = monkeypatch, [], {}
        self.engines = folder / 'depthface_ros' / 'tensorrt'
        monkeypatch.setattr(engines, '_has_nvidia_driver', lambda: True)
        monkeypatch.setattr(plans, 'build_plan', fake_tensorrt.build_plan)
        monkeypatch.setenv('XDG_CACHE_HOME', str(folder))
        self.install('10.3.0')

    def install(self, flavour, gpu=None):
        """Start a new process with this TensorRT and GPU."""
        rtx = flavour == fake_tensorrt.RTX
        gpu = gpu or (RTX_4090 if rtx else ORIN)
        self.cuda = FakeCuda(gpu)
        self.trt = fake_tensorrt.make(flavour, self.cuda, self.fail)
        self.cache = self.engines / gpu[0].lower().replace(' ', '-')
        modules = {'tensorrt': None if rtx else self.trt, 'tensorrt_rtx': self.trt if rtx else None,
                   'cuda': types.ModuleType('cuda'),
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
