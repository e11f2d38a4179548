# SPDX-License-Identifier: Apache-2.0
"""`depthface run` on one recording."""
from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import asdict
from pathlib import Path

from depthface_ros.estimation.estimator import EstimatorConfig, FaceEstimator
from depthface_ros.io import writers
from depthface_ros.io.errors import writing
from depthface_ros.io.frame import Recording
from depthface_ros.io.image_files import ImageRecording, natural_order
from depthface_ros.io.recordings import open_recording
from depthface_ros.parameter_file import read_parameter_file
from depthface_ros.tools.offline import Summary, run_recording
from depthface_ros.tools.progress import progress
from depthface_ros.tracking.tracks import TrackerConfig


def run_one(options: argparse.Namespace) -> int:
    """Run on the only input, or on the images of one folder; print what is read and the counts."""
    path = options.input[0]
    if len(options.input) > 1:
        path = path.parent
        recording = ImageRecording(sorted(options.input, key=natural_order), options.intrinsics,
                                   options.depth_unit)
    else:
        recording = open_input(options, path)
    summary = run_input(options, path, recording, options.out)
    if options.summary:
        write_summaries(options.summary, {str(path): asdict(summary)})
    return 0


def is_folder_of_images(inputs: list[Path]) -> bool:
    """Return whether the inputs are PNG files of one folder, as in `depth/*.png`: one recording."""
    return (len(inputs) > 1 and {path.parent for path in inputs} == {inputs[0].parent}
            and all(path.suffix.lower() == '.png' and path.is_file() for path in inputs))


def check_outputs(options: argparse.Namespace) -> None:
    """Raise ValueError where a result would replace a recording that is read, or a part of it."""
    for result in filter(None, (options.bag, options.rerun, options.summary)):
        for path in options.input:
            if path.resolve() in (result.resolve(), result.resolve().parent):
                raise ValueError(f'{result} lies in the recording {path}, which is read: write to '
                                 'another place')


def run_input(options: argparse.Namespace, path: Path, recording: Recording, out: Path) -> Summary:
    """Run on the recording of one input and write its results into a folder.

    :raises ValueError, OSError, EngineUnavailable: it cannot be read, run or written.
    """
    configs = {'estimator': EstimatorConfig(), 'tracker': TrackerConfig()}
    if options.params_file:
        configs = read_parameter_file(options.params_file, **configs)
    estimator = open_estimator(options, configs['estimator'])
    print(f'{path}: {recording.description}')
    print(f'engine {estimator.engine.name} ({estimator.engine.description}), '
          f'networks in {options.models}')
    total = recording.count
    if options.frames:
        total = min(total or options.frames, options.frames)
    try:
        with writing(out):
            summary = run_recording(
                recording, estimator, open_writers(options, out, estimator), configs['tracker'],
                lambda frames: progress(itertools.islice(frames, options.frames), total, 'faces'))
    except KeyboardInterrupt:
        print(f'interrupted; the results so far are in {out}')
        raise
    if summary.rejections:
        print(summary.rejections)
    print(f'{summary.faces} faces ({summary.ids} ids) in {summary.frames_with_faces} of '
          f'{summary.frames} frames; written to {out}')
    for fault, count in summary.skipped.items():
        print(f'{count} {fault} images were skipped')
    return summary


def open_input(options: argparse.Namespace, path: Path) -> Recording:
    """Open a recording as the options require."""
    return open_recording(path, options.intrinsics, options.topic, options.info_topic,
                          options.depth_unit)


def open_estimator(options: argparse.Namespace,
                   config: EstimatorConfig | None = None) -> FaceEstimator:
    """Load the networks as the options require."""
    return FaceEstimator(options.engine, config or EstimatorConfig(), options.models)


def open_writers(options: argparse.Namespace, out: Path, estimator: FaceEstimator) -> list:
    """Make the folder of results and open the files in it."""
    model = estimator.face_model
    out.mkdir(parents=True, exist_ok=True)
    results = [writers.PoseFile(out / f'poses.{options.poses}', model)]
    if options.meshes:
        results.append(writers.MeshFolder(out / 'meshes', model))
    if options.video or options.sheet:
        results.append(writers.Pictures(model, out / 'overlay.mp4' if options.video else None,
                                        out / 'sheet.png' if options.sheet else None))
    if options.over_time:
        results.append(writers.OverTime(out / 'over_time.png', model))
    if options.rerun:
        results.append(writers.RerunFile(options.rerun, model))
    if options.bag:
        from depthface_ros.io.face_bag import FaceBag
        results.append(FaceBag(options.bag, model))
    return results


def write_summaries(file: Path, summaries: dict[str, dict]) -> None:
    """Write the counts of each recording as JSON."""
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(summaries, indent=1) + '\n')
