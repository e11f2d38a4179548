# SPDX-License-Identifier: Apache-2.0
"""`depthface`: faces out of recordings, timings, and a check of the installation."""
from __future__ import annotations

import argparse
import itertools
import re
import sys
from functools import partial
from pathlib import Path

from depthface_ros.tools import thread_limits  # noqa: F401  before numpy

# isort: split
from depthface_ros.engines import ENGINES, EngineUnavailable

# How `depthface bench` goes over images.
SEARCHED, TRACKED = 'all images searched', 'tracked at 30 Hz'


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; errors that users can mend end it with one line and exit status 2."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except (ValueError, OSError, EngineUnavailable, ImportError) as error:
        print(f'depthface: error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run(options: argparse.Namespace) -> int:
    """Find faces in a recording and write what was asked for."""
    from depthface_ros.estimation.estimator import EstimatorConfig, FaceEstimator
    from depthface_ros.io import writers as output
    from depthface_ros.io.recordings import open_recording
    from depthface_ros.settings import read_parameter_file
    from depthface_ros.tools.offline import run_recording
    from depthface_ros.tools.progress import progress
    from depthface_ros.tracking.tracks import TrackerConfig

    recording = open_recording(options.input, options.intrinsics, options.topic)
    configs = {'estimator': EstimatorConfig(), 'tracker': TrackerConfig()}
    if options.params_file:
        configs = read_parameter_file(options.params_file, **configs)
    estimator = FaceEstimator(options.engine, configs['estimator'])
    model, out = estimator.face_model, options.out
    out.mkdir(parents=True, exist_ok=True)
    writers = [output.PoseFile(out / f'poses.{options.poses}', model)]
    if options.meshes:
        writers.append(output.MeshFolder(out / 'meshes', model))
    if options.video or options.sheet:
        writers.append(output.Pictures(model, out / 'overlay.mp4' if options.video else None,
                                        out / 'sheet.png' if options.sheet else None))
    if options.rerun:
        writers.append(output.RerunFile(options.rerun, model))
    if options.bag:
        from depthface_ros.io.face_bag import FaceBag
        writers.append(FaceBag(options.bag, model))
    total = recording.count
    if options.frames:
        total = min(total or options.frames, options.frames)
    summary = run_recording(
        recording, estimator, writers, configs['tracker'], lambda frames: progress(
            itertools.islice(frames, options.frames), total, 'faces'))
    print(f'{summary.faces} faces ({summary.ids} ids) in {summary.frames_with_faces} of '
          f'{summary.frames} frames; written to {out}')
    for fault, count in summary.skipped.items():
        print(f'{count} {fault} images were skipped')
    return 0


def bench(options: argparse.Namespace) -> int:
    """Print milliseconds per stage."""
    from depthface_ros.estimation.estimator import FaceEstimator
    from depthface_ros.io.recordings import open_recording
    from depthface_ros.tools import bench as benches

    estimator = FaceEstimator(options.engine)
    print(f'{benches.machine()}, engine {estimator.engine.name}, {options.runs} runs')
    if options.input:
        recording = open_recording(options.input, options.intrinsics, options.topic)
        frames = [(frame.depth, frame.intrinsics) for frame in itertools.islice(recording, 60)]
        if not frames:
            raise ValueError(f'{options.input} holds no frames')
        height, width = frames[0][0].shape
        for way, estimate in ((SEARCHED, estimator), (TRACKED, benches.tracked(estimator))):
            stopwatch, faces = benches.bench(estimate, frames, options.runs)
            _print_table(f'{width}x{height}, {faces:.1f} faces per frame, {way}', stopwatch.table())
        return 0
    for heads in (1, 3):
        depth, centres = benches.drawn_frame(heads)
        known = benches.KnownHeads(estimator.engine, centres)
        for way, estimate in ((SEARCHED, known), (TRACKED, benches.tracked(known))):
            stopwatch, faces = benches.bench(estimate, [(depth, benches.CAMERA)], options.runs)
            title = f'{benches.WIDTH}x{benches.HEIGHT}, {faces:g} face{"s" * (heads > 1)}, {way}'
            _print_table(title, stopwatch.table())
    return 0


def check(options: argparse.Namespace) -> int:
    """Print what is installed and what works."""
    from depthface_ros.tools.check import check_report
    lines, works = check_report()
    print('\n'.join(lines))
    return 0 if works else 1


def build_engines(options: argparse.Namespace) -> int:
    """Build the TensorRT engines for this machine's GPU, or ahead for other machines' GPUs."""
    from depthface_ros.engines import MODELS_FOLDER
    from depthface_ros.engines.tensorrt.plans import PREBUILT, build_ahead
    from depthface_ros.engines.tensorrt.trt_engine import TensorRt

    report = partial(print, file=sys.stderr, flush=True)
    if options.capabilities:
        out = options.out or Path('engines')
        for file in build_ahead(MODELS_FOLDER, options.capabilities, options.precision, out,
                                report):
            print(f'{file}  {file.stat().st_size / 1e6:.1f} MB')
        print(f'where they shall run: export {PREBUILT}=<their folder>')
        return 0
    if options.out:
        raise ValueError('--out is for engines of other machines: add --for, as in --for sm89')
    engine = TensorRt(MODELS_FOLDER, options.precision, report=report)
    print(f'ready: {engine.description}')
    return 0


def _print_table(title: str, rows: list[tuple[str, float, float]]) -> None:
    print(f'\n{title:44}{"p50 ms":>8}{"p95 ms":>8}')
    for stage, median, p95 in rows:
        print(f'  {stage:42}{median:8.2f}{p95:8.2f}')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='depthface', description=__doc__)
    commands = parser.add_subparsers(required=True, metavar='COMMAND')

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('--engine', choices=('auto', *ENGINES), default='auto')
    common.add_argument('--intrinsics', type=numbers, metavar='FX,FY[,CX,CY]',
                        help='of the depth camera, in pixels, if the input does not tell')
    common.add_argument('--topic', help='of the depth images, if the bag has several')

    command = partial(commands.add_parser, parents=[common])
    one = command('run', help=run.__doc__)
    one.set_defaults(command=run)
    one.add_argument('input', type=Path,
                     help='a ROS bag, a 16-bit PNG, an .npz, or a folder of images')
    one.add_argument('--out', type=Path, default=Path('depthface_output'), metavar='DIR')
    one.add_argument('--poses', choices=('csv', 'json'), default='csv')
    one.add_argument('--meshes', action='store_true', help='write a PLY per face and frame')
    one.add_argument('--video', action='store_true', help='write overlay.mp4')
    one.add_argument('--sheet', action='store_true', help='write sheet.png, a contact sheet')
    one.add_argument('--rerun', type=Path, metavar='FILE.rrd', help='write a recording for rerun')
    one.add_argument('--bag', type=Path, metavar='FILE.mcap',
                     help='write what the node would publish on /tf and ~/mesh')
    one.add_argument('--params-file', type=Path, metavar='FILE.yaml',
                     help="the node's, for estimator and tracker")
    one.add_argument('--frames', type=int, metavar='N', help='stop after N frames')

    two = command('bench', help=bench.__doc__)
    two.set_defaults(command=bench)
    two.add_argument('input', type=Path, nargs='?', help='as for run; without it heads are drawn')
    two.add_argument('--runs', type=int, default=200)

    commands.add_parser('check', help=check.__doc__).set_defaults(command=check)
    four = commands.add_parser('build-engines', help=build_engines.__doc__)
    four.set_defaults(command=build_engines)
    four.add_argument('--precision', choices=('fp16', 'fp32'), default='fp16',
                      help="fp32 is for the engine 'tensorrt_fp32'")
    four.add_argument('--for', dest='capabilities', type=capabilities, metavar='SM[,SM...]',
                      help='compute capabilities of the GPUs, as sm86,sm89,sm120; this machine '
                      'needs TensorRT for RTX and no GPU')
    four.add_argument('--out', type=Path, metavar='DIR',
                      help="folder for the engines of --for; default 'engines'")
    return parser


def numbers(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(','))
    except ValueError:
        values = ()
    if len(values) not in (2, 4):
        raise argparse.ArgumentTypeError(f'{text!r}: expected fx,fy or fx,fy,cx,cy')
    return values


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
