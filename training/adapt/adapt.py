# SPDX-License-Identifier: Apache-2.0
"""Adapt the networks to a camera: from a recording to new ONNX files and a report."""
from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from depthface_ros import Intrinsics
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.io.frame import Frame, Recording
from depthface_ros.io.recordings import open_recording
from depthface_ros.tools.progress import progress
from training.adapt.adapted_models import first_networks, fit_settings, write_models
from training.adapt.datasets import open_dataset
from training.adapt.methods import METHODS
from training.adapt.pipeline_labels import Labeller
from training.adapt.report import (
    FILES,
    empty_rows,
    labelled_rows,
    print_report,
    recording_rows,
    synthetic_rows,
    write_report,
)
from training.adapt.shape_adaptation import adapt_shape
from training.data.frame_views import rectified
from training.data.rendered_dataset import FaceWindows
from training.models.networks import FaceShapeNet
from training.models.quantise import quantise_folder

QUANTISATION_FRAMES = 150  # at most, of the recording
HELD_OUT = 0.2  # fraction of a recording, at its end, for the report only
# That of a CPU is the schedule of docs/results/adapt_people.json.
PRESETS = {'cpu': {'steps': 40, 'batch': 32, 'learning_rate': 1e-4, 'shards': 24},
           'gpu': {'steps': 400, 'batch': 256, 'learning_rate': 1e-4, 'shards': None}}


class RecordingSplit:
    """Rectified, evenly spaced frames of a recording: for training, and held out at its end."""

    def __init__(self, recording: Recording, most: int):
        """Split a recording.

        :param most: frames for training.
        :raises ValueError: there are fewer than two frames.
        """
        self.recording = recording
        frames = recording.count or sum(1 for _ in recording)
        if frames < 2:
            raise ValueError(f'the recording holds {frames} frames: expected hundreds, of the '
                             'people and distances that the camera will see')
        self.n_held_out = max(1, round(HELD_OUT * frames))
        self.border = frames - self.n_held_out
        self.step = -(-self.border // most)
        self.n_training = -(-self.border // self.step)

    def training(self) -> Iterator[Frame]:
        yield from map(rectified, itertools.islice(self.recording, 0, self.border, self.step))

    def held_out(self, most: int) -> Iterator[Frame]:
        step = -(-self.n_held_out // most)
        yield from map(rectified, itertools.islice(self.recording, self.border, None, step))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    recording = parser.add_mutually_exclusive_group(required=True)
    recording.add_argument('--bag', type=Path, help='a ROS bag with depth images')
    recording.add_argument('--folder', type=Path,
                           help='16-bit PNGs with a camera.json, or .npz files')
    recording.add_argument('--labels', nargs=2, metavar=('KIND', 'FOLDER'),
                           help='fine-tune the pose network on a '
                           'labelled data set instead: biwi or pandora')
    parser.add_argument('--topic', help='of the depth images, if the bag has several')
    parser.add_argument('--intrinsics', type=lambda text: tuple(map(float, text.split(','))),
                        metavar='FX,FY[,CX,CY]',
                        help='of the depth camera, in pixels, if the recording has none')
    add_training_arguments(parser)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('adapted_models'))
    parser.add_argument('--methods', nargs='+', choices=METHODS,
                        default=['self-training'],
                        help='default: what was best in docs/research/adaptation.md')
    parser.add_argument('--frames', type=int, default=1500,
                        help='of the recording to learn from, at most')
    parser.add_argument('--judge', nargs=2, metavar=('KIND', 'FOLDER'),
                        help='data set with marked landmarks, for the report only, as '
                        'kinect2-crops')
    parser.add_argument('--empty', type=Path, metavar='RECORDING',
                        help='without people, to count false faces in it, for the report only')
    parser.add_argument('--report-frames', type=int, default=150,
                        help='of the held-out fifth, at most')


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that all adaptation commands share: start, schedule, device."""
    parser.add_argument('--pools', type=Path, default=Path('training_data'),
                        help='with windows-train, rendered by '
                        '`python -m training render`: what the networks learnt from')
    parser.add_argument('--models', type=Path, default=MODELS_FOLDER,
                        help='networks to start from')
    parser.add_argument('--preset', choices=PRESETS, default='gpu' if torch.cuda.is_available()
                        else 'cpu')
    parser.add_argument('--steps', type=int,
                        help='default: that of the preset, as for the next two')
    parser.add_argument('--batch', type=int)
    parser.add_argument('--learning-rate', type=float)
    parser.add_argument('--loader-workers', type=int, default=0)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')


def source_windows(options: argparse.Namespace) -> FaceWindows:
    """Return the labelled windows of the source, after options take defaults from the preset."""
    for name, value in PRESETS[options.preset].items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    return FaceWindows.load(options.pools / 'windows-train', slice(0, options.shards))


def run(options: argparse.Namespace) -> None:
    """Adapt, export and report; an interrupted run resumes from its last checkpoint."""
    source = source_windows(options)
    if options.labels:
        from training.adapt.pose_finetuning import finetune
        finetune(options, source)
        return
    frames = RecordingSplit(open_recording(options.bag or options.folder, options.intrinsics,
                                   options.topic), options.frames)
    faces = Labeller(options.models)(progress(frames.training(), frames.n_training,
                                              'labelling faces'))
    print(f'{len(faces.is_face)} faces labelled in {frames.n_training} frames')
    pose_network, start = first_networks(options.models, source)
    network = adapt_shape(start, tuple(options.methods), source, faces,
                          fit_settings(options, options.seed), options.out / 'run',
                          torch.device(options.device), options.batch, pose_network)
    write_models(options.models, options.out, 'face_shape', network, {'adapted': {
        'methods': options.methods, 'steps': options.steps, 'faces': len(faces.is_face)}})
    quantise_folder(options.out, calibration_images(frames))
    report_on(options, frames, start, network, len(faces.is_face))
    print(next_steps(options.out, options.pools))


def report_on(options: argparse.Namespace, frames: RecordingSplit, before: FaceShapeNet,
              after: FaceShapeNet, faces: int) -> None:
    """Measure both folders of networks on held-out frames; write and print the report."""
    def held_out() -> Iterator[Frame]:
        return iter(progress(frames.held_out(options.report_frames), None,
                             'measuring held-out frames'))

    rows = recording_rows(options.models, options.out, held_out)
    if options.judge:
        samples = list(open_dataset(options.judge[0], Path(options.judge[1])))
        rows += labelled_rows(options.models, options.out, samples)
    if options.empty:
        empty = open_recording(options.empty, options.intrinsics, options.topic)
        rows += empty_rows(options.models, options.out,
                           itertools.islice(empty, options.report_frames))
    rows += synthetic_rows(before, after, options.pools)
    verdict = write_report(options.out, rows, {
        'methods': ' '.join(options.methods), 'steps': options.steps, 'batch': options.batch,
        'learning_rate': options.learning_rate, 'faces_learnt_from': faces})
    print_report(rows, verdict)
    print(f'written to {options.out / FILES[1]} and {FILES[0]}')


def calibration_images(frames: RecordingSplit) -> Iterator[tuple[np.ndarray, Intrinsics]]:
    """Yield some depth images of the training part, with their cameras, to quantise on."""
    step = -(-frames.n_training // QUANTISATION_FRAMES)
    for frame in itertools.islice(frames.training(), 0, None, step):
        yield frame.depth, frame.intrinsics


def next_steps(out: Path, pools: Path) -> str:
    """Return the commands that complete a folder of adapted networks, and those that use it."""
    people = '[--ict FOLDER] [--hair FOLDER]'
    return f"""{out} holds all networks. Its refiner and calibration are those of the old networks.
Fit them to the adapted network (about two hours on two cores):
  python -m training calibrate --models {out} {people}
  python -m training refiner --models {out} --start {out} --pools {pools} --runs {out / 'run'}
  python -m training export --networks face_refiner --runs {out / 'run'} --out {out}
  python -m training calibrate --models {out} {people}
Run the node with it:
  ros2 launch depthface_ros depthface.launch.py models_folder:={out.resolve()}"""
