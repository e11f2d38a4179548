# SPDX-License-Identifier: Apache-2.0
"""Open a recording of depth images of any format."""
from __future__ import annotations

from collections import Counter
from pathlib import Path

from depthface_ros.io.bags.files import BAG_SUFFIXES, METADATA, is_bag, is_bag_name
from depthface_ros.io.frame import Recording
from depthface_ros.io.image_files import ImageRecording, natural_order
from depthface_ros.io.quoting import as_name, quoted

IMAGE_SUFFIXES = ('.npz', '.png')


def open_recording(path: str | Path, intrinsics: tuple[float, ...] | None = None,
                   topic: str | None = None, info_topic: str | None = None,
                   depth_unit: float | None = None) -> Recording:
    """Open a ROS bag, an image or a folder of images.

    Bags are .mcap, .db3 and .bag files and rosbag2 folders, with raw or compressedDepth images.
    Images are 16-bit PNGs in millimetres, or .npz files that hold `depth_mm` (uint16) or `depth_m`
    (float), (H, W) or (N, H, W), and may hold `K` (fx, fy, cx, cy or a matrix) and, where images
    are padded, `size_hw` (N, 2).

    :param intrinsics: fx, fy, cx, cy in pixels, or fx, fy alone for the centre of each image;
        without it they come from the bag, from `K`, or from a camera.json or .yaml beside images.
    :param topic: of the depth images; needed where a bag has several.
    :param info_topic: of their camera_info; without it the nearest in name is taken.
    :param depth_unit: metres per unit of the pixels, where it is not that of the encoding.
    :raises ValueError: there is nothing to read; the text gives the cause. Single images
        that cannot be read are skipped and counted in `rejections`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path} does not exist')
    inside = sorted(path.iterdir(), key=natural_order) if path.is_dir() else [path]
    if (path / METADATA).is_file() or path.name == METADATA or any(map(is_bag_name, inside)):
        from depthface_ros.io.bags import BagRecording
        return BagRecording(path, intrinsics, topic, info_topic, depth_unit)
    for suffix in IMAGE_SUFFIXES:
        files = [file for file in inside if file.suffix.lower() == suffix]
        if files:
            return ImageRecording(files, intrinsics, depth_unit)
    if path.is_file() and is_bag(path):
        from depthface_ros.io.bags import BagRecording
        return BagRecording(path, intrinsics, topic, info_topic, depth_unit)
    folders = [file.name for file in inside if file.is_dir() and _holds_recording(file)]
    if folders:
        raise ValueError(f'{path} holds {len(folders)} recordings, such as {quoted(folders[0])}: '
                         'name them, one or several')
    raise ValueError(f'{path} {_contents(path, inside)}: expected a bag '
                     f'({", ".join(BAG_SUFFIXES)}, or a rosbag2 folder), a 16-bit .png, an .npz, '
                     'or a folder of either')


def _holds_recording(folder: Path) -> bool:
    return any(is_bag_name(file) or file.name == METADATA or file.suffix.lower() in IMAGE_SUFFIXES
               for file in folder.iterdir())


def _contents(path: Path, inside: list[Path]) -> str:
    """Return what a path holds that is no recording."""
    if not path.is_dir():
        return f'is a file of type {quoted(path.suffix)}'
    kinds = Counter(file.suffix for file in inside if file.is_file())
    return 'holds ' + (', '.join(f'{count} {as_name(kind) or "other"} file{"s" * (count > 1)}'
                                 for kind, count in kinds.most_common(3)) or 'no files')
