"""What hypothesis draws for the geometry tests: sizes, points and parameters of warps."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

# How far theta may lie from the identity, in every entry. A family that is not named here, one that
# is newly registered say, is tested within the last.
THETA_RANGES = {
    "translation": 2.0,
    "rotation": 4.0,
    "similarity": 1.0,
    "attention": 1.0,
    "affine": 0.4,  # below 0.5 the matrix is diagonally dominant, hence invertible
    "affine_diffeo": 1.0,
    "homography": 0.4,
    "homography_diffeo": 0.5,
    "tps": 0.1,  # below 0.3 of the distance between control points; folds are tested apart
    "cpab": 0.3,
}
DEFAULT_THETA_RANGE = 0.1


def sizes_hw(least=1, most=12):
    """Heights and widths that differ, so that swapped axes cannot hide."""
    side = st.integers(least, most)
    return st.tuples(side, side).filter(lambda hw: hw[0] != hw[1])


def dtypes():
    return st.sampled_from([torch.float32, torch.float64])


def tensors(shape, low, high):
    """float64 tensors of a shape, every entry drawn between two bounds."""
    entries = st.floats(low, high, allow_subnormal=False)
    return arrays(np.float64, shape, elements=entries).map(torch.from_numpy)


def points_xy(batch=2, count=7, extent=1.0):
    """(batch, count, 2) points of the square from -extent to extent."""
    return tensors((batch, count, 2), -extent, extent)


def thetas(warp, batch=2, reach=None):
    """(batch, P) parameters of a warp, each within ``reach`` of the identity's."""
    if reach is None:
        reach = THETA_RANGES.get(warp.name, DEFAULT_THETA_RANGE)
    offsets = tensors((batch, warp.num_params), -reach, reach)
    return offsets.map(lambda offset: warp.identity(dtype=torch.float64) + offset)
