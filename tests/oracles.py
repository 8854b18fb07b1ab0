"""Slow, plain, independent references that the tests hold the library against."""

from __future__ import annotations

import math

import numpy as np

# --- sampling: slow, plain, float64 -------------------------------------------------------------


def slow_sample(image, points_xy, mode="bilinear", outside="zeros"):
    """Read one image at normalised points, one tap after the other.

    Args:
        image: array (C, H, W).
        points_xy: array (N, 2), normalised.
        mode: "nearest", "bilinear" or "bicubic".
        outside: "zeros", "border", "reflection", or a fill value for each channel.

    Returns:
        Array (C, N).
    """
    image = np.asarray(image, dtype=np.float64)
    height, width = image.shape[1:]
    columns = []
    for x, y in np.asarray(points_xy, dtype=np.float64):
        value = np.zeros(image.shape[0])
        for column, weight_x in _taps(((x + 1) * width - 1) / 2, mode):
            for row, weight_y in _taps(((y + 1) * height - 1) / 2, mode):
                value += weight_x * weight_y * _read_pixel(image, row, column, outside)
        columns.append(value)
    return np.stack(columns, axis=1)


def _taps(position, mode):
    """The pixels that count at a position along one axis, with their weights."""
    if mode == "nearest":
        return [(round(position), 1.0)]
    kernel, reach = {"bilinear": (_tent, 1), "bicubic": (_keys, 2)}[mode]
    first = math.floor(position) - reach + 1
    return [(tap, kernel(position - tap)) for tap in range(first, first + 2 * reach)]


def _tent(distance):
    return max(0.0, 1.0 - abs(distance))


def _keys(distance, a=-0.75):
    """Keys (1981), equation 4, with torch's a."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def _read_pixel(image, row, column, outside):
    height, width = image.shape[1:]
    if 0 <= row < height and 0 <= column < width:
        return image[:, row, column]
    if isinstance(outside, str) and outside == "zeros":
        return np.zeros(image.shape[0])
    if isinstance(outside, str):
        move = {"border": _nearest_index, "reflection": _mirrored_index}[outside]
        return image[:, move(row, height), move(column, width)]
    return np.broadcast_to(np.asarray(outside, dtype=np.float64), image.shape[:1])


def _nearest_index(i, n):
    return min(max(i, 0), n - 1)


def _mirrored_index(i, n):
    """Pixels repeat as 0 1 … n-1 n-1 … 1 0, in both directions."""
    i %= 2 * n
    return i if i < n else 2 * n - 1 - i


def slow_plane_slope(image, centre_xy, places_xy, outside="zeros"):
    """The slope of the plane fitted by least squares to what is found at some places.

    The plane's height is free; numpy's lstsq solves for slope and height together.

    Args:
        image: array (C, H, W).
        centre_xy: (2,), where the plane is anchored.
        places_xy: array (K, 2), where it is fitted.
        outside: as in ``slow_sample``.

    Returns:
        Array (C, 2): intensity per unit of x and of y.
    """
    offsets = np.asarray(places_xy) - np.asarray(centre_xy)
    design = np.concatenate([offsets, np.ones((len(offsets), 1))], axis=1)
    found = slow_sample(image, places_xy, "bilinear", outside)
    return np.linalg.lstsq(design, found.T, rcond=None)[0][:2].T


def slow_box_reduce(image, size_hw):
    """The means of an image over equal rectangles: pixels are squares of constant intensity.

    Args:
        image: array (C, H, W).
        size_hw: how many rectangles along each axis.

    Returns:
        Array (C, *size_hw).
    """
    for axis, cells in ((1, size_hw[0]), (2, size_hw[1])):
        n = image.shape[axis]
        total = np.insert(np.cumsum(image, axis=axis), 0, 0.0, axis=axis)
        at_bounds = [
            np.apply_along_axis(lambda t, b=b, n=n: np.interp(b, np.arange(n + 1), t), axis, total)
            for b in np.linspace(0, n, cells + 1)
        ]
        image = np.diff(np.stack(at_bounds, axis=axis), axis=axis) * cells / n
    return image


def slow_antialiased(image, grid, outside="zeros"):
    """Sampling between box-filtered octaves of an image (Williams 1983), one pixel at a time.

    Args:
        image: array (C, H, W).
        grid: array (h, w, 2), normalised.
        outside: as in ``slow_sample``.

    Returns:
        Array (C, h, w).
    """
    height, width = image.shape[1:]
    octaves = [image]
    while octaves[-1].shape[1:] != (1, 1):
        shrink = 2 ** len(octaves)
        octaves.append(slow_box_reduce(image, (-(-height // shrink), -(-width // shrink))))
    steps = [
        np.gradient(grid * np.array([width / 2, height / 2]), axis=axis)
        if grid.shape[axis] > 1
        else np.zeros_like(grid)
        for axis in (0, 1)
    ]
    scale = np.maximum(*(np.hypot(step[..., 0], step[..., 1]) for step in steps))
    result = np.zeros((image.shape[0], *grid.shape[:2]))
    for i, j in np.ndindex(*grid.shape[:2]):
        level = min(math.log2(max(scale[i, j], 1.0)), len(octaves) - 1)
        lower = math.floor(level)
        upper = min(lower + 1, len(octaves) - 1)
        for octave, weight in ((lower, 1 - level + lower), (upper, level - lower)):
            at_point = slow_sample(octaves[octave], grid[i, j][None], "bilinear", outside)
            result[:, i, j] += weight * at_point[:, 0]
    return result


# --- warps: other people's solvers on the same definitions ----------------------------------------


def cpab_velocity(corners, centres, point):
    """A velocity field on triangles, by barycentric coordinates, one point at a time.

    Args:
        corners: array (cells_y + 1, cells_x + 1, 2) of velocities at the cells' corners.
        centres: array (cells_y, cells_x, 2) of velocities at their centres.
        point: (x, y), normalised, inside the image.

    Returns:
        Array (2,), half-widths and half-heights per unit of time.
    """
    cells_y, cells_x = centres.shape[:2]
    x, y = (point[0] + 1) / 2 * cells_x, (point[1] + 1) / 2 * cells_y
    column, row = min(max(int(x), 0), cells_x - 1), min(max(int(y), 0), cells_y - 1)
    around = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)]
    centre = (column + 0.5, row + 0.5)
    best = None
    for first, second in zip(around, around[1:] + around[:1], strict=True):
        vertices = [centre, first[::-1], second[::-1]]
        weights = np.linalg.solve(np.vstack([np.array(vertices, float).T, np.ones(3)]), (x, y, 1))
        # Of the cell's four triangles the point is in the one without negative weights.
        if best is None or weights.min() > best[0].min():
            best = weights, np.stack([centres[row, column], corners[first], corners[second]])
    return best[0] @ best[1]


def cpab_flow(corners, centres, point):
    """Where a point is after one unit of time, by scipy's adaptive integrator of order 8."""
    from scipy.integrate import solve_ivp

    def field(_, position):
        return cpab_velocity(corners, centres, position)

    return solve_ivp(field, (0, 1), point, "DOP853", rtol=1e-8, atol=1e-8, max_step=0.02).y[:, -1]


def thin_plate_spline(control_points, displacements, points):
    """Scipy's thin-plate spline with an affine part: arrays (K, 2), (K, 2) and (N, 2) to (N, 2)."""
    from scipy.interpolate import RBFInterpolator

    spline = RBFInterpolator(
        control_points, control_points + displacements, kernel="thin_plate_spline", degree=1
    )
    return spline(points)


def kornia_warp_perspective(image, matrix_in_to_out, size_hw):
    """Kornia's projective warp, with align_corners=True, where it is right.

    Args:
        image: tensor (B, C, H, W).
        matrix_in_to_out: tensor (B, 3, 3) from input pixels to output pixels.
        size_hw: output size.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kornia uses parts of torch that torch has deprecated
        from kornia.geometry.transform import warp_perspective

        return warp_perspective(image, matrix_in_to_out, size_hw, align_corners=True)
