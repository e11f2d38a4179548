# SPDX-License-Identifier: Apache-2.0
"""Play the sample recording through the real node over DDS and report: `make demo`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# Nobody else's domain, this machine only, and enough shared memory for depth images: see the file.
os.environ.update({
    'ROS_DOMAIN_ID': os.environ.get('ROS_DOMAIN_ID', str(1 + os.getpid() % 100)),
    'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    'FASTRTPS_DEFAULT_PROFILES_FILE': str(ROOT / 'config' / 'fastdds.xml'),
    'FASTDDS_DEFAULT_PROFILES_FILE': str(ROOT / 'config' / 'fastdds.xml')})

import rclpy
from install import show
from pictures import write_bag, write_pictures
from rclpy.serialization import deserialize_message
from robot import MESH_TOPIC, Heard, NodeProcess, Robot
from sample import Sample, matrix, read_sample
from score import Score
from visualization_msgs.msg import Marker

from depthface_ros.face_model.mesh import FaceModel


class Failure(Exception):
    """The demo did not do what it shows; the message says what is wrong."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--bag', type=Path, default=ROOT / 'demo' / 'sample.mcap')
    parser.add_argument('--output', type=Path, default=ROOT / 'demo_output')
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        run(options.bag, options.output)
    except (Failure, RuntimeError, OSError) as error:
        print(f'\ndemo failed: {error}', file=sys.stderr)
        return 1
    return 0


def run(bag: Path, output: Path) -> None:
    """The demo, from the recording to the report and the files in the output folder."""
    sample = read_sample(bag)
    height, width = next(iter(sample.depths.values())).shape
    print(f'{bag.name}: {len(sample.images)} depth images of {width}x{height} at '
          f'{sample.rate:.0f} Hz')
    start = time.monotonic()
    rclpy.init()
    process = NodeProcess(sample.image_topic, sample.info_topic, output / 'node.log')
    robot = Robot(sample)
    try:
        show('starting the node')
        robot.wait_for_node(process)
        cpu_s = process.cpu_s()
        sent = robot.play(lambda n: show(f'playing {n}/{len(sample.images)}'))
        robot.wait_until_done(len(sent))
        process.check()
        cpu_s = process.cpu_s() - cpu_s
        process.stop()
    finally:
        process.kill()
        robot.close()
        rclpy.shutdown()

    faces, marker_stamps = collect(robot.heard, sent)
    score = Score()
    for stamp, poses in sample.poses.items():
        score.add(faces.get(stamp, {}), poses, sample.meshes.get(stamp, {}))
    write_pictures(output, sample, faces, FaceModel.load(),
                   lambda n: show(f'drawing {n}/{len(sample.images)}'))
    write_bag(output / 'faces.mcap', [message for message, _ in robot.heard.transforms],
              list(zip(marker_stamps, robot.heard.markers)))
    show(f'played, read back and drawn in {time.monotonic() - start:.0f} s', 0, end='\n')
    report(robot, sample, score, sent, cpu_s)
    print(f'  written    {", ".join(str(path) for path in sorted(output.iterdir()))}')
    check(robot, sent)


def collect(heard: Heard, sent: dict[int, int]) -> tuple[dict[int, dict], list[int]]:
    """What was heard, by the stamp of the recorded image.

    :returns: stamp as recorded -> face id -> camera_from_face (4, 4) and vertices (V, 3) or None;
        and the stamp as sent of each mesh marker.
    """
    faces: dict[int, dict] = {}
    for message, _ in heard.transforms:
        for item in message.transforms:
            if item.child_frame_id.startswith('face_'):
                stamp = sent.get(stamp_ns(item.header))
                if stamp is None:
                    raise Failure('a transform bears the stamp of no image')
                faces.setdefault(stamp, {})[item.child_frame_id] = matrix(item.transform), None
    # The marker lists the corners of all triangles; each vertex is the first corner that is it.
    _, first_corner = np.unique(FaceModel.load().triangles, return_index=True)
    marker_stamps = []
    for count, data in enumerate(heard.markers, 1):
        show(f'reading meshes {count}/{len(heard.markers)}')
        marker = deserialize_message(data, Marker)
        marker_stamps.append(stamp_ns(marker.header))
        by_name = faces.get(sent.get(marker_stamps[-1]), {})
        name = f'face_f{marker.id:05d}'
        if marker.action == Marker.ADD and name in by_name:
            points = np.array([(p.x, p.y, p.z) for p in marker.points])
            by_name[name] = by_name[name][0], points[first_corner]
    return faces, marker_stamps


def report(robot: Robot, sample: Sample, score: Score, sent: dict[int, int], cpu_s: float) -> None:
    """Print what happened."""
    heard = robot.heard
    latency_ms = [(published - stamp_ns(message.transforms[0].header)) * 1e-6
                  for message, published in heard.transforms]
    counts = ', '.join(f'{robot.total(name)} {name}'
                       for name in ('received', 'processed', 'dropped'))
    found, seconds = len(score.rotation_deg), len(sent) / sample.rate
    print(f'  images     {len(sent)} sent; the node: {counts}')
    print(f'  faces      {found} poses and {score.meshes} meshes of {score.in_view} faces in view '
          f'({100 * found / max(score.in_view, 1):.1f} %), {score.false} where nobody is')
    print(f'  latency    image stamp to publication p50 {quantile(latency_ms, 50)} ms, '
          f'p95 {quantile(latency_ms, 95)} ms')
    for name, errors, unit in (
            ('rotation', score.rotation_deg, 'degrees, geodesic'),
            ('sellion', score.sellion_mm, 'mm'),
            ('mesh', score.mesh_mm, f'mm, not aligned, of {len(score.mesh_mm)} with truth')):
        print(f'  {name:<10} error median {quantile(errors, 50)}, p95 {quantile(errors, 95)} '
              f'{unit}')
    print(f'  CPU        {100 * cpu_s / seconds:.0f} % of one core')


def check(robot: Robot, sent: dict[int, int]) -> None:
    """Raise Failure unless images arrived and faces came out."""
    lost = len(sent) - robot.total('received')
    if lost:
        raise Failure(f'{lost} of {len(sent)} images were lost on their way to the node; '
                      'is this machine overloaded, or /dev/shm full?')
    if not robot.heard.transforms:
        raise Failure('the node published no face on /tf')
    if not robot.heard.markers:
        raise Failure(f'the node published no mesh on {MESH_TOPIC}')


def quantile(values: list[float], percent: float) -> str:
    return f'{np.percentile(values, percent):.1f}' if values else 'unknown'


def stamp_ns(header) -> int:
    return header.stamp.sec * 10**9 + header.stamp.nanosec


if __name__ == '__main__':
    sys.exit(main())
