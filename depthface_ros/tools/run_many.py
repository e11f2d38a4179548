# SPDX-License-Identifier: Apache-2.0
"""`depthface run` on several recordings: each in a process of its own, so that none ends others."""
from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path

from depthface_ros.io.errors import one_line, writing
from depthface_ros.stop import Interruption
from depthface_ros.tools.offline import Summary
from depthface_ros.tools.run import open_input, run_input, write_summaries

LOG_FILE = 'log.txt'  # of each recording, beside its results
INTERRUPTED = 'interrupted'


@dataclass
class Outcome:
    """The result of one recording: a summary or an error."""

    summary: Summary | None
    error: str
    seconds: float


def run_many(options: argparse.Namespace) -> int:
    """Run on all inputs, `--jobs` at once; print a table. Return 1 where any failed."""
    folders = result_folders(options.input, options.out)
    outcomes = dict.fromkeys(folders, Outcome(None, INTERRUPTED, 0.0))
    with ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(run_in_process, options, path, folder): path
                   for path, folder in folders.items()}
        try:
            for count, done in enumerate(as_completed(running), 1):
                path = running[done]
                outcomes[path] = done.result()
                print(f'{count} of {len(running)}: {path}: {_text(outcomes[path])}',
                      file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()  # it closes its files; a terminal interrupts it as well
            pool.shutdown()
            _report(options, outcomes)
            raise
    _report(options, outcomes)
    return 1 if any(outcome.error for outcome in outcomes.values()) else 0


def _report(options: argparse.Namespace, outcomes: dict[Path, Outcome]) -> None:
    print('\n'.join(table(outcomes)))
    if options.summary:
        write_summaries(options.summary,
                        {str(path): _as_dict(outcome) for path, outcome in outcomes.items()})


def result_folders(inputs: list[Path], out: Path) -> dict[Path, Path]:
    """Return a folder for the results of each input: its name, with its folder's where needed."""
    inputs = list(dict.fromkeys(inputs))
    folders: dict[Path, Path] = {}
    for depth in range(1, 1 + max(len(path.absolute().parts) for path in inputs)):
        names = {path: '_'.join([*path.absolute().parts[-depth:-1], path.stem]).strip('/')
                 for path in inputs if path not in folders}
        count = Counter(names.values())
        taken = {folder.name for folder in folders.values()}
        folders |= {path: out / name for path, name in names.items()
                    if count[name] == 1 and name not in taken}
    for path in inputs:  # a.mcap and a.png in one folder
        folders.setdefault(path, out / path.name)
    return {path: folders[path] for path in inputs}


def table(outcomes: dict[Path, Outcome]) -> list[str]:
    """Return lines with the counts of each recording and their totals."""
    width = min(60, max(len(str(path)) for path in outcomes))
    lines = [f'{"recording":{width}} {"images":>8} {"rejected":>8} {"with face":>9} {"faces":>7} '
             f'{"ids":>5} {"seconds":>8}']
    total = Summary()
    for path, outcome in outcomes.items():
        name = f'{str(path)[-width:]:{width}}'
        if outcome.error:
            lines.append(f'{name} failed: {outcome.error}')
            continue
        lines.append(f'{name} {_numbers(outcome.summary)} {outcome.seconds:8.1f}')
        for field in ('frames', 'rejected', 'frames_with_faces', 'faces', 'ids'):
            setattr(total, field, getattr(total, field) + getattr(outcome.summary, field))
    failed = sum(bool(outcome.error) for outcome in outcomes.values())
    seconds = sum(outcome.seconds for outcome in outcomes.values())
    last = f'{len(outcomes) - failed} of {len(outcomes)} read'
    return [*lines, f'{last:{width}} {_numbers(total)} {seconds:8.1f}']


def _numbers(summary: Summary) -> str:
    return (f'{summary.frames:8} {summary.rejected:8} {summary.frames_with_faces:9} '
            f'{summary.faces:7} {summary.ids:5}')


def run_in_process(options: argparse.Namespace, path: Path, folder: Path) -> Outcome:
    """Run on one input in a new process and wait for it, however it ends."""
    start = time.monotonic()
    context = multiprocessing.get_context('spawn')
    receiver, sender = context.Pipe(duplex=False)
    options = copy(options)
    options.command = None  # a function of the main program
    process = context.Process(target=_child, args=(options, path, folder, sender), daemon=True)
    process.start()
    sender.close()
    try:
        summary, error = receiver.recv()
    except EOFError:
        process.join()
        summary, error = None, f'its process ended with status {process.exitcode}'
    process.join()
    return Outcome(summary, error, time.monotonic() - start)


def _child(options: argparse.Namespace, path: Path, folder: Path, sender) -> None:
    """Run on one input; output goes into its log file, the result through a pipe."""
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        log = (folder / LOG_FILE).open('w', buffering=1)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
        logging.basicConfig(format='%(levelname)s: %(message)s', force=True)
        for name in ('bag', 'rerun'):
            if getattr(options, name):
                setattr(options, name, folder / getattr(options, name).name)
        with Interruption():
            result = run_input(options, path, open_input(options, path), folder), ''
    except KeyboardInterrupt:
        result = None, INTERRUPTED
    except Exception as error:
        result = None, one_line(error).removeprefix(f'{path}: ')
        print(f'error: {result[1]}')
    sender.send(result)


def _text(outcome: Outcome) -> str:
    if outcome.error:
        return f'failed: {outcome.error}'
    return (f'{outcome.summary.faces} faces in {outcome.summary.frames} frames'
            + (f'; {outcome.summary.rejections}' if outcome.summary.rejections else ''))


def _as_dict(outcome: Outcome) -> dict:
    counts = {} if outcome.summary is None else asdict(outcome.summary)
    return counts | {'error': outcome.error, 'seconds': round(outcome.seconds, 1)}
