# SPDX-License-Identifier: Apache-2.0
"""`depthface`: faces from recordings, timings, and a check of the installation."""
from __future__ import annotations

import argparse
import logging
import math
import os
import re
import signal
import sys
from functools import partial
from pathlib import Path

from depthface_ros.stop import Interruption
from depthface_ros.tools import thread_limits  # noqa: F401  before numpy


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; an error ends it with one line and exit status 2.

    A signal ends it after its files are closed, with the status that a shell gives to the signal.
    """
    with Interruption() as interruption:
        try:
            return _run(arguments)
        except KeyboardInterrupt:
            return interruption.status
        except ImportError:  # which numpy makes of a signal during its own imports
            if interruption.status:
                return interruption.status
            raise
        except BrokenPipeError:  # of `depthface ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE


def _run(arguments: list[str] | None) -> int:
    options = _parser().parse_args(arguments)
    from depthface_ros.engines import EngineUnavailable
    from depthface_ros.io.errors import one_line
    logging.addLevelName(logging.WARNING, 'warning')
    logging.basicConfig(format='depthface: %(levelname)s: %(message)s', force=True,
                        level=logging.DEBUG if options.verbose else logging.WARNING)
    try:
        status = options.command(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        raise
    except Exception as error:  # --verbose shows the traceback
        logging.debug('traceback', exc_info=True)
        text = str(error) if isinstance(error, EngineUnavailable) else one_line(error)
        print(f'depthface: error: {text}', file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    """Find faces in recordings and write poses, meshes or pictures."""
    from depthface_ros.tools.run import check_outputs, is_folder_of_images, run_one
    check_outputs(options)
    if len(options.input) == 1 or is_folder_of_images(options.input):
        return run_one(options)
    from depthface_ros.tools.run_many import run_many
    return run_many(options)


def bench(options: argparse.Namespace) -> int:
    """Print milliseconds per stage."""
    from depthface_ros.tools.bench import bench_drawn, bench_recording, machine
    from depthface_ros.tools.run import open_estimator, open_input
    estimator = open_estimator(options)
    print(f'{machine()}, engine {estimator.engine.name}, {options.runs} runs')
    if options.input:
        bench_recording(estimator, open_input(options, options.input), options.runs)
    else:
        bench_drawn(estimator, options.runs)
    return 0


def check(options: argparse.Namespace) -> int:
    """Print what is installed and what works."""
    from depthface_ros.tools.check import check_report
    lines, works = check_report(options.models)
    print('\n'.join(lines))
    return 0 if works else 1


def build_engines(options: argparse.Namespace) -> int:
    """Build the TensorRT engines for this machine's GPU, or ahead for other machines' GPUs."""
    from depthface_ros.engines.tensorrt.plans import PREBUILT, build_ahead
    from depthface_ros.engines.tensorrt.trt_engine import TensorRt

    report = partial(print, file=sys.stderr, flush=True)
    if options.capabilities:
        out = options.out or Path('engines')
        for file in build_ahead(options.models, options.capabilities, options.precision, out,
                                report):
            print(f'{file}  {file.stat().st_size / 1e6:.1f} MB')
        print(f'on the robot: export {PREBUILT}=FOLDER')
        return 0
    if options.out:
        raise ValueError('--out is for engines of other machines: add --for, as in --for sm89')
    engine = TensorRt(options.models, options.precision, report=report)
    print(f'ready: {engine.description}')
    return 0


def _parser() -> argparse.ArgumentParser:
    from depthface_ros.engines import MODELS_FOLDER
    parser = argparse.ArgumentParser(prog='depthface', description=__doc__)
    commands = parser.add_subparsers(required=True, metavar='COMMAND')

    networks = argparse.ArgumentParser(add_help=False)
    networks.add_argument('--models', type=Path, default=MODELS_FOLDER, metavar='FOLDER',
                          help='of the networks; by default those of the package')
    networks.add_argument('--verbose', action='store_true', help='show tracebacks')
    recordings = _recording_options(networks)

    _add_run(commands, recordings)
    two = commands.add_parser('bench', parents=[recordings], help=bench.__doc__)
    two.set_defaults(command=bench)
    two.add_argument('input', type=Path, nargs='?', help='as for run; without it heads are drawn')
    two.add_argument('--runs', type=positive, default=200)
    three = commands.add_parser('check', parents=[networks], help=check.__doc__)
    three.set_defaults(command=check)
    four = commands.add_parser('build-engines', parents=[networks], help=build_engines.__doc__)
    four.set_defaults(command=build_engines)
    four.add_argument('--precision', choices=('fp16', 'fp32'), default='fp16',
                      help="fp32 is for the engine 'tensorrt_fp32'")
    four.add_argument('--for', dest='capabilities', type=capabilities, metavar='SM[,SM...]',
                      help='compute capabilities of the GPUs, as sm86,sm89,sm120; this machine '
                      'needs TensorRT for RTX and no GPU')
    four.add_argument('--out', type=Path, metavar='DIR',
                      help="folder for the engines of --for; default 'engines'")
    return parser


def _recording_options(networks: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Return the options of commands that read recordings."""
    from depthface_ros.engines import ENGINES
    parser = argparse.ArgumentParser(add_help=False, parents=[networks])
    add = parser.add_argument
    add('--engine', choices=('auto', *ENGINES), default='auto')
    add('--intrinsics', type=numbers, metavar='FX,FY[,CX,CY]',
        help='of the depth camera, in pixels; replace camera_info')
    add('--topic', help='of the depth images, if the bag has several')
    add('--info-topic', metavar='TOPIC',
        help='of their camera_info; by default the nearest in name')
    add('--depth-unit', type=depth_unit, metavar='METRES',
        help='per unit of the pixels, such as 0.0001; by default the encoding decides')
    return parser


def _add_run(commands, recordings: argparse.ArgumentParser) -> None:
    parser = commands.add_parser('run', parents=[recordings], help=run.__doc__)
    parser.set_defaults(command=run)
    add = parser.add_argument
    add('input', type=Path, nargs='+',
        help='ROS bags, 16-bit PNGs, .npz files, or folders of images')
    add('--out', type=Path, default=Path('depthface_output'), metavar='DIR',
        help='for results; of several recordings each gets a folder in it')
    add('--jobs', type=positive, default=1, metavar='N', help='recordings at once')
    add('--poses', choices=('csv', 'json'), default='csv')
    add('--meshes', action='store_true', help='write a PLY per face and frame')
    add('--video', action='store_true', help='write overlay.mp4')
    add('--sheet', action='store_true', help='write sheet.png, a contact sheet')
    add('--over-time', action='store_true', help='write over_time.png: meshes after 0.1 s and '
        'after 3 s, and their distances to the measured points over time')
    add('--rerun', type=Path, metavar='FILE.rrd', help='write a recording for rerun')
    add('--bag', type=Path, metavar='FILE.mcap',
        help='write what the node would publish on /tf and ~/mesh')
    add('--params-file', type=Path, metavar='FILE.yaml', help="the node's, for estimator and "
        'tracker')
    add('--frames', type=positive, metavar='N', help='stop after N frames')
    add('--summary', type=Path, metavar='FILE.json', help='write the counts of each recording')


def positive(text: str) -> int:
    """Parse a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r}: expected a whole number above 0')
    return int(text)


def numbers(text: str) -> tuple[float, ...]:
    """Parse fx,fy or fx,fy,cx,cy."""
    try:
        values = tuple(float(part) for part in text.split(','))
    except ValueError:
        values = ()
    if len(values) not in (2, 4) or not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f'{text!r}: expected fx,fy or fx,fy,cx,cy')
    return values


def depth_unit(text: str) -> float:
    """Parse metres per unit of the pixels."""
    from depthface_ros.io.depth_encodings import check_unit
    try:
        return check_unit(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r}: {error}') from None


def capabilities(text: str) -> tuple[str, ...]:
    """Return compute capabilities: ('8.6', '12.0') of 'sm86,sm120'."""
    parts = [re.fullmatch(r'(?:sm_?)?(\d+)\.?(\d)', part.strip().lower())
             for part in text.split(',')]
    if None in parts:
        raise argparse.ArgumentTypeError(f'{text!r}: expected compute capabilities, as '
                                         'sm86,sm89,sm120')
    return tuple(dict.fromkeys(f'{part[1]}.{part[2]}' for part in parts))


if __name__ == '__main__':
    sys.exit(main())
