"""Random velocity fields of CPAB, and the points that flow along them."""

from __future__ import annotations

import numpy as np
import torch

# Twice the worst error stated, 2.3e-5 of the image's width, which is 2.
STATED_ERROR = 1e-4
ZERO, SLIDING, FREE = {}, {"sliding_boundary": True}, {"zero_boundary": False}


def random_theta(warp, velocity, batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return velocity * torch.randn(batch, warp.num_params, dtype=torch.float64, generator=generator)


def random_points(batch, count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(batch, count, 2, dtype=torch.float64, generator=generator) - 1


def vertex_velocities(warp, theta):
    """Theta as arrays of corner and centre velocities, the boundary filled in."""
    border = 1 if warp.zero_boundary or warp.sliding_boundary else 0
    inner_x, inner_y = warp.cells_x - 1, warp.cells_y - 1
    shape = (inner_y + 2 - 2 * border, inner_x + 2 - 2 * border, 2)
    split = shape[0] * shape[1] * 2
    end = split + 2 * warp.cells_x * warp.cells_y
    corners = theta[:split].reshape(shape).numpy()
    centres = theta[split:end].reshape(warp.cells_y, warp.cells_x, 2).numpy()
    corners = np.pad(corners, ((border, border), (border, border), (0, 0)))
    if warp.sliding_boundary:
        top, bottom, left, right = np.split(
            theta[end:].numpy(), np.cumsum([inner_x, inner_x, inner_y])
        )
        corners[0, 1:-1, 0], corners[-1, 1:-1, 0] = top, bottom
        corners[1:-1, 0, 1], corners[1:-1, -1, 1] = left, right
    return corners, centres
