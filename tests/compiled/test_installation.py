# SPDX-License-Identifier: Apache-2.0
"""With and without Numba faces are the same; nothing is compiled while images arrive."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from depthface_ros import FaceEstimator, FaceTracker, compiled
from depthface_ros.compiled import features, least_squares, pixels, surface_modes, triangles
from depthface_ros.geometry import one_rotation
from depthface_ros.io.bags import BagRecording
from depthface_ros.tracking import personal_shape, smoothing

SAMPLE = Path(__file__).parents[2] / 'demo' / 'sample.mcap'
MODULES = (features, least_squares, pixels, surface_modes, triangles, one_rotation, personal_shape,
           smoothing)
IMAGES = 6
TRACKED_FACES = f'''
import sys
import numpy as np
from depthface_ros import FaceEstimator, FaceTracker
from depthface_ros.io.bags import BagRecording
tracker, faces = FaceTracker(FaceEstimator('cpu_fp32')), []
for frame, _ in zip(BagRecording({str(SAMPLE)!r}), range({IMAGES})):
    for track in tracker(frame.depth, frame.intrinsics, frame.stamp_ns):
        face = track.face
        faces.append(np.concatenate([face.camera_from_face.ravel(), face.vertices[::50].ravel(),
                                     face.expression, [face.rotation_std, face.support]]))
np.save(sys.argv[1], faces)
'''
BLOCKED = '''
import sys
sys.modules['numba'] = None  # as if it were not installed
import depthface_ros.compiled as compiled
print(compiled.AVAILABLE, compiled.WHY_NOT)
from depthface_ros import FaceEstimator
print(FaceEstimator('cpu').engine.name)
'''

needs_numba = pytest.mark.skipif(not compiled.AVAILABLE, reason=f'no Numba: {compiled.WHY_NOT}')


def run(program: str, *arguments, **environment) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', program, *map(str, arguments)], check=True,
                          capture_output=True, text=True, env=os.environ | environment)


@needs_numba
def test_tracked_faces_are_the_same_with_and_without(tmp_path):
    run(TRACKED_FACES, tmp_path / 'with.npy')
    run(TRACKED_FACES, tmp_path / 'without.npy', NUMBA_DISABLE_JIT='1')
    found, expected = np.load(tmp_path / 'with.npy'), np.load(tmp_path / 'without.npy')
    assert len(expected) >= IMAGES
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_estimator_runs_where_numba_is_not_installed():
    available, engine = run(BLOCKED).stdout.splitlines()
    assert available.startswith('False') and 'numba' in available
    assert engine == 'cpu'


@needs_numba
def test_nothing_is_compiled_while_images_arrive():
    tracker = FaceTracker(FaceEstimator('cpu'))
    before = kinds_of_arguments()
    assert len(before) > 20
    for frame, _ in zip(BagRecording(SAMPLE), range(IMAGES)):
        metres = np.where(frame.depth > 0, frame.depth / np.float32(1000), np.nan)
        frozen = frame.depth.copy()
        frozen.flags.writeable = False
        for depth in (frame.depth, frozen, metres.astype(np.float32)[:, ::-1]):
            tracker(depth, frame.intrinsics, frame.stamp_ns)
    assert kinds_of_arguments() == before


def kinds_of_arguments() -> dict[str, list]:
    """Return for which types of arguments each loop is compiled."""
    return {f'{module.__name__}.{name}': loop.signatures for module in MODULES
            for name, loop in vars(module).items() if hasattr(loop, 'signatures')}


@needs_numba
def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path):
    """As of a package of the system, run by a user without a home."""
    program = ('import numba.core.caching as caching\n'
               'for locator in caching.CacheImpl._locator_classes:\n'
               '    locator.from_function = classmethod(lambda cls, function, file: None)\n'
               'from depthface_ros.geometry.one_rotation import rotation_matrix\n'
               'print(rotation_matrix(__import__("numpy").zeros(3)).trace())')
    assert run(program).stdout.strip() == '3.0'
