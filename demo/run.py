# SPDX-License-Identifier: Apache-2.0
"""Play the sample recording through the real node over DDS and report: `make demo`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# A separate domain, this machine only, and enough shared memory for depth images: see the file.
os.environ.update({
    'ROS_DOMAIN_ID': os.environ.get('ROS_DOMAIN_ID', str(1 + os.getpid() % 100)),
    'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    'FASTRTPS_DEFAULT_PROFILES_FILE': str(ROOT / 'config' / 'fastdds.xml'),
    'FASTDDS_DEFAULT_PROFILES_FILE': str(ROOT / 'config' / 'fastdds.xml')})

import rclpy
from errors_over_time import ErrorsOverTime
from install import show
from pictures import write_bag, write_pictures
from rclpy.serialization import deserialize_message
from robot import MESH_TOPIC, Heard, NodeProcess, Robot
from sample import Sample, matrix, read_sample
from score import Score
from visualization_msgs.msg import Marker

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.tools.provenance import measured


class Failure(Exception):
    """The demo failed; the message gives the cause."""


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
    """Run the demo, from the recording to the report and the files in the output folder."""
    sample = read_sample(bag)
    height, width = next(iter(sample.depths.values())).shape
    print(f'{bag.name}: {len(sample.images)} depth images of {width}x{height} at '
          f'{sample.rate:.0f} Hz')
    start = time.monotonic()
    rclpy.init()
    process = NodeProcess(sample.image_topic, sample.info_topic, output / 'node.log')
    robot = Robot(sample)
    try:
        show('starting the node: its first start compiles for up to a minute')
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
    score, over_time = Score(), ErrorsOverTime(FaceModel.load())
    for stamp, poses in sample.poses.items():
        found, meshes = faces.get(stamp, {}), sample.meshes.get(stamp, {})
        over_time.add(1e-9 * stamp, found, score.add(found, poses, meshes), poses, meshes)
    over_time.write(output / 'over_time.png')
    write_pictures(output, sample, faces, FaceModel.load(),
                   lambda n: show(f'drawing {n}/{len(sample.images)}'))
    write_bag(output / 'faces.mcap', [message for message, _ in robot.heard.transforms],
              list(zip(marker_stamps, robot.heard.markers)))
    show(f'played, read back and drawn in {time.monotonic() - start:.0f} s', 0, end='\n')
    figures = measure(robot, sample, score, sent, cpu_s)
    (output / 'report.json').write_text(json.dumps(figures, indent=1) + '\n')
    report(figures)
    print(f'  written    {", ".join(str(path) for path in sorted(output.iterdir()))}')
    check(robot, sent)


def collect(heard: Heard, sent: dict[int, int]) -> tuple[dict[int, dict], list[int]]:
    """Sort the received messages by the stamp of the recorded image.

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
    # The marker lists the corners of all triangles; each vertex is read at its first corner.
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


def measure(robot: Robot, sample: Sample, score: Score, sent: dict[int, int],
            cpu_s: float) -> dict[str, object]:
    """Return the figures of the run: counts, latency in ms, errors in degrees and mm."""
    latency_ms = [(published - stamp_ns(message.transforms[0].header)) * 1e-6
                  for message, published in robot.heard.transforms]
    return {
        'measured': measured(), 'sent': len(sent),
        **{name: robot.total(name) for name in ('received', 'processed', 'dropped')},
        'faces_in_view': score.in_view, 'poses': len(score.rotation_deg), 'meshes': score.meshes,
        'false_faces': score.false, 'meshes_with_truth': len(score.mesh_mm),
        'latency_ms': quantiles(latency_ms), 'rotation_deg': quantiles(score.rotation_deg),
        'sellion_mm': quantiles(score.sellion_mm), 'mesh_mm': quantiles(score.mesh_mm),
        'cpu_percent': 100 * cpu_s / (len(sent) / sample.rate)}


def report(figures: dict) -> None:
    """Print the figures of the run."""
    def both(name: str, unit: str) -> str:
        return ', '.join(f'{kind} {"unknown" if value is None else format(value, ".1f")}'
                         for kind, value in zip(('median', 'p95'), figures[name])) + f' {unit}'

    share = 100 * figures['poses'] / max(figures['faces_in_view'], 1)
    print(f'  images     {figures["sent"]} sent; the node: {figures["received"]} received, '
          f'{figures["processed"]} processed, {figures["dropped"]} dropped')
    print(f'  faces      {figures["poses"]} poses and {figures["meshes"]} meshes of '
          f'{figures["faces_in_view"]} faces in view ({share:.1f} %), '
          f'{figures["false_faces"]} false')
    print(f'  latency    image stamp to publication: {both("latency_ms", "ms")}')
    print(f'  rotation   error: {both("rotation_deg", "degrees, geodesic")}')
    print(f'  sellion    error: {both("sellion_mm", "mm")}')
    print(f'  mesh       error: {both("mesh_mm", "mm, not aligned")}, of '
          f'{figures["meshes_with_truth"]} with truth')
    print(f'  CPU        {figures["cpu_percent"]:.0f} % of one core')


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


def quantiles(values: list[float]) -> list[float | None]:
    """Return median and 95th percentile; None where there are no values."""
    return np.percentile(values, (50, 95)).tolist() if values else [None, None]


def stamp_ns(header) -> int:
    return header.stamp.sec * 10**9 + header.stamp.nanosec


if __name__ == '__main__':
    sys.exit(main())
