"""What is kept of a trained model to look at: its mistakes, and what its transformer does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stn_core.datasets import Dataset
from stn_core.models.normaliser import Normaliser
from stn_core.models.transformed import TransformsImages, WarpedImages
from stn_core.session.artifacts import Artifacts, Mistakes, WarpPictures
from stn_core.training.evaluation import Evaluation
from stn_core.training.loop import Training

_LOGGER = logging.getLogger(__name__)

BATCH_IMAGES = 10
"""So many images are shown warped."""
MOST_FRAMES = 12
"""So many moments of a training are filmed."""
MOST_THETAS = 500
"""Of so many images the parameters of the warp are kept."""


def film_of(
    model: nn.Module, dataset: Dataset, normalise: Normaliser, epochs: int
) -> Callable[[int], Tensor | None] | None:
    """What films the warps of a fixed batch while a model is trained; None without a transformer.

    Args:
        model: to be trained.
        dataset: whose validation images are shown.
        normalise: of the dataset.
        epochs: the most that the training takes; the frames are spread evenly over them.

    Returns:
        To be asked by number of epoch; None where there is nothing to see.
    """
    if not isinstance(model, TransformsImages):
        return None
    batch = fixed_batch(dataset)
    try:
        _warp(model, batch, normalise)
    except Exception as error:  # a model of one's own may mean something else by `transform`
        _LOGGER.warning("warps are not filmed: %s: %s", type(error).__name__, error)
        return None
    moments = set(np.linspace(0, epochs, MOST_FRAMES).round().astype(int).tolist())

    def frame(epoch: int) -> Tensor | None:
        return _warp(model, batch, normalise).image if epoch in moments else None

    return frame


def fixed_batch(dataset: Dataset) -> Tensor:
    """The validation images that are shown warped, uint8 (B, C, H, W)."""
    return dataset.val.images[one_of_each_class(dataset.val.labels)]


def one_of_each_class(labels: Tensor, count: int = BATCH_IMAGES) -> Tensor:
    """Indices of the first image of each class, then of the second, until there are enough."""
    order = torch.argsort(labels, stable=True)
    sizes = torch.bincount(labels)
    rank = torch.empty_like(labels)
    rank[order] = torch.cat([torch.arange(int(size)) for size in sizes])
    return torch.argsort(rank * len(sizes) + labels, stable=True)[:count]


def collect_artifacts(
    model: nn.Module,
    dataset: Dataset,
    normalise: Normaliser,
    training: Training,
    evaluation: Evaluation | None,
    digest: str,
) -> Artifacts:
    """The arrays that pictures of a finished run need.

    Args:
        model: trained.
        dataset: that it was trained on.
        normalise: of the dataset.
        training: its course, with the film.
        evaluation: on the test images; None where these stayed closed.
        digest: of the run.
    """
    transformer = model if isinstance(model, TransformsImages) and training.frames else None

    def warped(images: Tensor) -> Tensor:
        if transformer is None or not len(images):
            return images[:0]
        return _warp(transformer, images, normalise).image

    return Artifacts(
        digest=digest,
        class_names=np.array(dataset.class_names, dtype=np.str_),
        mistakes=_mistakes(evaluation, dataset.test.images, warped) if evaluation else None,
        warps=_warps(transformer, dataset, normalise, training) if transformer else None,
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


def _warps(
    model: TransformsImages, dataset: Dataset, normalise: Normaliser, training: Training
) -> WarpPictures:
    chosen = one_of_each_class(dataset.val.labels)
    batch = dataset.val.images[chosen]
    warped = _warp(model, batch, normalise)
    frames = sorted(training.frames.items())
    if frames[-1][0] != training.kept_epoch:  # early stopping went back to other weights
        frames.append((training.kept_epoch, warped.image))
    return WarpPictures(
        batch=batch.numpy(),
        batch_labels=dataset.val.labels[chosen].numpy(),
        warped=warped.image.numpy(),
        grid=warped.grid.numpy(),
        det=finite_difference_determinant(warped.grid).numpy(),
        film=torch.stack([frame for _, frame in frames]).numpy(),
        film_epochs=np.array([epoch for epoch, _ in frames], np.int64),
        **_spread(model, dataset, normalise),
    )


def _spread(model: TransformsImages, dataset: Dataset, normalise: Normaliser) -> dict[str, Any]:
    """How the warp differs from image to image, over images from the whole validation set."""
    count = min(len(dataset.val), MOST_THETAS)
    chosen = torch.from_numpy(np.linspace(0, len(dataset.val) - 1, count).round().astype(np.int64))
    parts = [
        _describe(_warp(model, dataset.val.images[indices], normalise))
        for indices in chosen.split(100)
    ]
    columns = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    return {"theta_labels": dataset.val.labels[chosen].numpy(), **columns}


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


@torch.inference_mode()
def _warp(model: TransformsImages, images: Tensor, normalise: Normaliser) -> WarpedImages:
    """What a model's transformer makes of uint8 images, as uint8 on the CPU; its mode is kept."""
    assert isinstance(model, nn.Module)
    was_training = model.training
    model.eval()
    try:
        warped = model.transform(normalise(images.to(normalise.shift.device)))
    finally:
        model.train(was_training)
    pixels = normalise.pixels(warped.image).cpu()
    return WarpedImages(pixels, warped.grid.float().cpu(), warped.theta.float().cpu())
