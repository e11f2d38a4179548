# SPDX-License-Identifier: Apache-2.0
"""A depth renderer: scanline rasterisation without a loop over triangles, on CPU and CUDA alike.

A triangle becomes the pixel rows that it crosses. A row becomes the pixels between its two edges.
Every such pixel competes for the nearest depth by a scatter-maximum of 1/z. Rows and spans are
half-open intervals whose ends two neighbouring triangles compute from the same numbers, so shared
edges neither crack nor overlap.
"""
from __future__ import annotations

import torch

NEAR = 0.05  # metres; what is nearer is clipped away


def render_depth(triangles_camera, image_index, fx, fy, cx, cy, height, width, two_sided=None,
                 return_index=False):
    """Render triangle soups as depth images, a batch at a time.

    The centre of pixel (u, v) has the viewing ray ((u - cx) / fx, (v - cy) / fy, 1), as in a ROS
    camera_info.

    :param triangles_camera: (T, 3, 3) float32 metres, camera frame: triangle, corner, coordinate.
    :param image_index: (T,) integer, the image that a triangle belongs to.
    :param fx, fy, cx, cy: (B,) float32 pixels.
    :param height, width: pixels, of every image.
    :param two_sided: (T,) bool or None; triangles where it is False are dropped when they show
        their back (corners counter-clockwise seen from outside). None draws both sides of all.
    :returns: depth (B, height, width) float32 metres along z, 0 where nothing is; and with
        `return_index` also (B, height, width) int64, the visible triangle or -1.
    """
    device = triangles_camera.device
    image_count = fx.shape[0]
    intrinsics = torch.stack([fx, fy, cx, cy]).to(device)
    triangles, image, source = _clip_near(triangles_camera, image_index)
    camera = intrinsics[:, image] if image_count > 1 else intrinsics
    inverse_z = 1 / triangles[:, :, 2].T
    u = triangles[:, :, 0].T * inverse_z * camera[0] + camera[2]  # (3, T): corner first
    v = triangles[:, :, 1].T * inverse_z * camera[1] + camera[3]

    first_row = v.amin(0).ceil().clamp(min=0)
    last_row = v.amax(0).ceil().clamp(max=height)  # one past the last
    keep = (first_row < last_row) & (u.amax(0) >= 0) & (u.amin(0) <= width - 1)
    keep &= u.amin(0).ceil() < u.amax(0).ceil()  # else it slips between two pixel centres
    if two_sided is not None:
        area = (u[1] - u[0]) * (v[2] - v[0]) - (u[2] - u[0]) * (v[1] - v[0])
        keep &= (area < 0) | two_sided[source]
    keep = keep.nonzero().squeeze(1)
    u, v, inverse_z = _sort_by_row(u[:, keep], v[:, keep], inverse_z[:, keep])
    image, source, first_row, last_row = image[keep], source[keep], first_row[keep], last_row[keep]

    # Rows: triangle t crosses the rows first_row .. last_row - 1.
    triangle, row = _expand(first_row.long(), last_row.long())
    u_long, u_short = _edge_crossings(u, v, triangle, row)
    left = torch.minimum(u_long, u_short).ceil().clamp(0, width).long()
    right = torch.maximum(u_long, u_short).ceil().clamp(0, width).long()

    # Pixels: 1/z is linear over the image; it is evaluated once a row, then along the row.
    base, slope_u, slope_v, least, most = _inverse_depth_plane(u, v, inverse_z)
    row_base = base[triangle] + slope_v[triangle] * (row - v[0, triangle])
    row_base -= slope_u[triangle] * u[0, triangle]
    start = (image[triangle] * height + row) * width
    span, column = _expand(left, right)
    of_triangle = triangle[span]
    candidate = torch.addcmul(row_base[span], slope_u[of_triangle], column.float())
    # A sliver's slopes amplify rounding; its corners bound its depth all the same.
    candidate = torch.minimum(torch.maximum(candidate, least[of_triangle]), most[of_triangle])
    pixel = start[span] + column

    size = image_count * height * width
    if not return_index:
        nearest = torch.zeros(size, device=device)
        nearest.scatter_reduce_(0, pixel, candidate, 'amax')
        return _depth(nearest).view(image_count, height, width)
    # A positive float's bits order as an integer: 1/z above, the triangle below, in one key.
    key = candidate.view(torch.int32).long() << 32 | source[of_triangle]
    nearest = torch.zeros(size, dtype=torch.int64, device=device)
    nearest = nearest.scatter_reduce_(0, pixel, key, 'amax').view(image_count, height, width)
    depth = _depth((nearest >> 32).int().view(torch.float32))
    return depth, torch.where(depth > 0, nearest & 0xFFFFFFFF, -1)


def _depth(inverse_z):
    return torch.where(inverse_z > 0, 1 / inverse_z.clamp(min=1e-9), 0)


def _clip_near(triangles, image_index):
    """Cut triangles at the near plane: pieces, their images, the triangles they came from."""
    source = torch.arange(len(triangles), device=triangles.device)
    in_front = triangles[:, :, 2] > NEAR
    count = in_front.sum(1)
    if bool((count == 3).all()):
        return triangles, image_index.long(), source
    whole = (count == 3).nonzero().squeeze(1)
    parts, sources = [triangles[whole]], [whole]
    for corners_in_front in (1, 2):
        chosen = (count == corners_in_front).nonzero().squeeze(1)
        # Turn the corners until the odd one out (alone in front, or alone behind) comes first.
        odd = (in_front[chosen] == (corners_in_front == 1)).int().argmax(1)
        order = (odd[:, None] + torch.arange(3, device=odd.device)) % 3
        a, b, c = torch.gather(triangles[chosen], 1, order[:, :, None].expand(-1, -1, 3)).unbind(1)
        ab, ac = _cut(a, b), _cut(a, c)
        if corners_in_front == 1:
            pieces = [torch.stack([a, ab, ac], 1)]
        else:
            pieces = [torch.stack([ab, b, c], 1), torch.stack([ab, c, ac], 1)]
        parts += pieces
        sources += [source[chosen]] * len(pieces)
    source = torch.cat(sources)
    return torch.cat(parts), image_index.long()[source], source


def _cut(a, b):
    """Return the points where segments from a to b (N, 3) meet the near plane."""
    fraction = (NEAR - a[:, 2]) / (b[:, 2] - a[:, 2])
    point = a + fraction[:, None] * (b - a)
    point[:, 2] = NEAR
    return point


def _sort_by_row(u, v, w):
    """Order the three corners of each triangle by v; all (3, T)."""
    for i, j in ((0, 1), (1, 2), (0, 1)):
        swap = v[i] > v[j]
        for x in (u, v, w):
            low, high = torch.where(swap, x[j], x[i]), torch.where(swap, x[i], x[j])
            x[i], x[j] = low, high
    return u, v, w


def _expand(start, stop):
    """Return all (item, k) with start[item] <= k < stop[item], in order, as two int64 tensors."""
    count = (stop - start).clamp_(min=0)
    item = torch.repeat_interleave(count)
    before = torch.cumsum(count, 0) - count
    return item, torch.arange(len(item), device=item.device) + (start - before)[item]


def _edge_crossings(u, v, triangle, row):
    """Columns where a row meets its triangle's long edge (corner 0 to 2) and a short one.

    An edge is always walked from its upper to its lower end, so both its triangles get the same
    number.
    """
    slope = torch.stack([u[1] - u[0], u[2] - u[1], u[2] - u[0]])
    slope /= torch.stack([v[1] - v[0], v[2] - v[1], v[2] - v[0]]).clamp(min=1e-12)
    row = row.float()
    lower = (row >= v[1, triangle]).long()
    short = lower * u.shape[1] + triangle
    u_long = u[0, triangle] + slope[2, triangle] * (row - v[0, triangle])
    u_short = u.view(-1)[short] + slope.view(-1)[short] * (row - v.view(-1)[short])
    return u_long, u_short


def _inverse_depth_plane(u, v, w):
    """Return 1/z at corner 0, its slopes along u and v, and its bounds, each (T,)."""
    (u1, u2), (v1, v2), (w1, w2) = ((x[1] - x[0], x[2] - x[0]) for x in (u, v, w))
    area = u1 * v2 - u2 * v1
    scale = torch.where(area.abs() > 1e-9, 1 / area, 0)
    return w[0], (w1 * v2 - w2 * v1) * scale, (u1 * w2 - u2 * w1) * scale, w.amin(0), w.amax(0)
