# SPDX-License-Identifier: Apache-2.0
"""Plot processor time over the number of faces and of pixels."""
from __future__ import annotations

from pathlib import Path


def plot(result: dict, file: Path) -> None:
    """Plot processor time over faces at 640x480, and over megapixels with one face."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout='constrained', sharey=False)
    who = dict.fromkeys((case['who'], case['way']) for case in result['cases'])
    for name, way in who:
        cases = [case for case in result['cases'] if (case['who'], case['way']) == (name, way)]
        style = {'marker': 'o', 'linestyle': '-' if way == 'tracked' else '--',
                 'label': f'{name}, {way}'}
        by_faces = [case for case in cases if case['size'] == '640x480']
        axes[0].plot([case['heads'] for case in by_faces],
                     [case['cpu_ms'][0] for case in by_faces], **style)
        by_pixels = [case for case in cases if case['heads'] == 1]
        axes[1].plot([_megapixels(case['size']) for case in by_pixels],
                     [case['cpu_ms'][0] for case in by_pixels], **style)
    axes[0].set(xlabel='faces, 640×480', ylabel='CPU ms, mean', ylim=(0, None))
    axes[1].set(xlabel='megapixels, one face', ylabel='CPU ms, mean', ylim=(0, None))
    axes[0].legend(fontsize=7)
    figure.savefig(file, dpi=110)


def _megapixels(size: str) -> float:
    width, height = map(int, size.split('x'))
    return width * height / 1e6
