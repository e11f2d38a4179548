# SPDX-License-Identifier: Apache-2.0
"""Open a recording of depth images, whatever it is kept in."""
from __future__ import annotations

from pathlib import Path

from depthface_ros.io.frame import Recording
from depthface_ros.io.image_files import ImageRecording, natural_order

BAG_SUFFIXES = ('.mcap', '.db3', '.bag')


def open_recording(path: str | Path, intrinsics: tuple[float, ...] | None = None,
                   topic: str | None = None) -> Recording:
    """Open a ROS bag, an image or a folder of images.

    Bags are .mcap, .db3 and .bag files and rosbag2 folders, with raw or compressedDepth images.
    Images are 16-bit PNGs in millimetres, or .npz files that hold `depth_mm` (uint16) or `depth_m`
    (float), (H, W) or (N, H, W), and may hold `K` (fx, fy, cx, cy or a matrix) and, where images
    are padded, `size_hw` (N, 2).

    :param intrinsics: fx, fy, cx, cy in pixels, or fx, fy alone for the centre of each image;
        without it they come from the bag, from `K`, or from a camera.json or .yaml beside images.
    :param topic: of the depth images; needed where a bag has several.
    :raises ValueError, OSError: there is nothing to read, or it is broken; the text says what.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path} does not exist')
    inside = sorted(path.iterdir(), key=natural_order) if path.is_dir() else [path]
    bags = [file for file in inside if file.suffix in BAG_SUFFIXES]
    if (path / 'metadata.yaml').is_file() or bags:
        from depthface_ros.io.bags import BagRecording
        if (path / 'metadata.yaml').is_file():
            return BagRecording(path, intrinsics, topic)
        if len(bags) > 1:
            raise ValueError(f'{path} holds {len(bags)} bags and no metadata.yaml: name one')
        return BagRecording(bags[0], intrinsics, topic)
    for suffix in ('.npz', '.png'):
        files = [file for file in inside if file.suffix.lower() == suffix]
        if files:
            return ImageRecording(files, intrinsics)
    raise ValueError(f'{path}: expected a bag ({", ".join(BAG_SUFFIXES)}, or a rosbag2 folder), a '
                     '16-bit .png, an .npz, or a folder of either')
