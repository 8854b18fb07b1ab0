"""What is kept of a trained model to look at: its mistakes, and what its transformer does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_core.datasets.chunks import images_at_once
from stn_core.models.transformed import TransformsImages, WarpedImages
from stn_core.session.artifacts import Artifacts, Mistakes, WarpPictures
from stn_core.training.callbacks.base import Run
from stn_core.training.evaluation import Evaluation
from stn_core.training.warped_images import one_of_each_class, warp

MOST_THETAS = 500
"""How many images the warp's parameters are kept of."""


def collect_artifacts(run: Run, frames: Mapping[int, Tensor]) -> Artifacts:
    """The arrays that pictures of a finished run need.

    Args:
        run: one that ended well.
        frames: of its film, by epoch; none if no warps are shown.
    """
    model, normalise, evaluation = run.model, run.normalise, run.evaluation
    transformer = model if isinstance(model, TransformsImages) and frames else None

    def warped(images: Tensor) -> Tensor:
        if transformer is None or not len(images):
            return images[:0]
        return warp(transformer, images, normalise).image

    test_images = run.dataset.test.images
    return Artifacts(
        digest=run.record.digest,
        class_names=np.array(run.dataset.class_names, dtype=np.str_),
        mistakes=_mistakes(evaluation, test_images, warped) if evaluation else None,
        warps=_warps(transformer, run, frames) if transformer else None,
    )


def _mistakes(
    evaluation: Evaluation, images: Tensor, warped: Callable[[Tensor], Tensor]
) -> Mistakes:
    first = evaluation.first_mistakes()
    first_images = images[[int(mistake["index"]) for mistake in first]]
    worst_images = images[[int(mistake["index"]) for mistake in evaluation.worst_mistakes()]]
    return Mistakes(
        worst_images=worst_images.numpy(),
        first_mistakes=_columns(first, "index", "label", "predicted", "confidence"),
        first_images=first_images.numpy(),
        worst_warped=warped(worst_images).numpy(),
        first_warped=warped(first_images).numpy(),
        calibration=_columns(evaluation.calibration(), "count", "confidence", "accuracy"),
    )


def _columns(entries: Sequence[Mapping[str, float]], *names: str) -> NDArray[np.float64]:
    rows = [[entry[name] for name in names] for entry in entries]
    return np.array(rows, np.float64).reshape(-1, len(names))


def _warps(model: TransformsImages, run: Run, film: Mapping[int, Tensor]) -> WarpPictures:
    validation = run.dataset.val
    chosen = one_of_each_class(validation.labels)
    batch = validation.images[chosen]
    warped = warp(model, batch, run.normalise)
    frames = sorted(film.items())
    if frames[-1][0] != run.history.kept_epoch:  # early stopping went back to other weights
        frames.append((run.history.kept_epoch, warped.image))
    return WarpPictures(
        batch=batch.numpy(),
        batch_labels=validation.labels[chosen].numpy(),
        warped=warped.image.numpy(),
        grid=warped.grid.numpy(),
        det=finite_difference_determinant(warped.grid).numpy(),
        film=torch.stack([frame for _, frame in frames]).numpy(),
        film_epochs=np.array([epoch for epoch, _ in frames], np.int64),
        **_spread(model, run),
    )


def _spread(model: TransformsImages, run: Run) -> dict[str, Any]:
    """How the warp differs from image to image, over images from the whole validation set."""
    validation = run.dataset.val
    count = min(len(validation), MOST_THETAS)
    chosen = torch.from_numpy(np.linspace(0, len(validation) - 1, count).round().astype(np.int64))
    height, width = validation.images.shape[-2:]
    parts = [
        _describe(warp(model, validation.images[indices], run.normalise))
        for indices in chosen.split(images_at_once(100, (height, width)))
    ]
    columns = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    return {"theta_labels": validation.labels[chosen].numpy(), **columns}


def _describe(warped: WarpedImages) -> dict[str, Tensor]:
    det = finite_difference_determinant(warped.grid)
    return {
        "theta": warped.theta,
        # A NaN is neither inside nor unfolded.
        "outside": (~(warped.grid.abs() <= 1)).any(-1).float().mean((1, 2)),
        "least_det": det.amin((1, 2)),
        "folded": (~(det > 0)).float().mean((1, 2)),
    }


def finite_difference_determinant(grid: Tensor) -> Tensor:
    """The determinant of a warp's Jacobian at the pixels of its grid, by central differences.

    Args:
        grid: (B, h, w, 2), input coordinates of the output pixels.

    Returns:
        (B, h, w): how many times its area an output pixel covers of the input, both in normalised
        coordinates; not positive where the warp folds, NaN on a picture one pixel high or wide.
    """
    height, width = grid.shape[1:3]
    if min(height, width) < 2:
        return torch.full_like(grid[..., 0], torch.nan)
    spacing = (2 / height, 2 / width)
    along_y, along_x = torch.gradient(grid, spacing=spacing, dim=(1, 2))
    return along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]
