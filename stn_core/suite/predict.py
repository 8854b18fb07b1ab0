"""``stn predict``: classifies image files with a saved model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from stn_core.datasets.sources.image_files import MODES, read_image
from stn_core.errors import UsageError, printable
from stn_core.models import TransformsImages
from stn_core.models.saved_models import SavedModel, read_saved_model
from stn_core.models.without_gradients import without_gradients
from stn_core.suite.command_arguments import import_given
from stn_core.training.devices import resolve_device
from stn_core.training.side_by_side import side_by_side


def open_model(arguments: argparse.Namespace) -> SavedModel:
    """The model that the command line names, on its device.

    Raises:
        UsageError: it cannot be read, takes no pictures, or another argument is wrong.
    """
    if arguments.top < 1:
        raise UsageError(f"--top must be 1 or more, not {arguments.top}")
    device = resolve_device(arguments.device)
    import_given(arguments)
    saved = read_saved_model(arguments.model)
    channels = saved.configuration.in_shape[0]
    if channels not in MODES:
        raise UsageError(
            f"{arguments.model}: its images have {channels} channels, which no image file has"
        )
    saved.model.to(device)
    return saved


def picture_paths(images: Sequence[Path], folder: Path) -> Iterator[Path]:
    """A path for each image's picture that overwrites no image and no other picture."""
    taken = {path.resolve() for path in images}
    for image in images:
        path, number = folder / f"{image.stem}-warped.png", 1
        while path.resolve() in taken:
            number += 1
            path = folder / f"{image.stem}-warped-{number}.png"
        taken.add(path.resolve())
        yield path


def prediction_line(saved: SavedModel, image: Tensor, top: int) -> str:
    """The most probable classes of an image ``(C, H, W)``: "7 (98.12 %), 1 (1.30 %)".

    Raises:
        UsageError: the model's answer is not finite.
    """
    (probabilities,) = saved.probabilities(image[None])
    if not probabilities.isfinite().all():
        raise UsageError("the model's output is not finite; check its weights")
    names = saved.configuration.class_names
    values, classes = probabilities.topk(min(top, len(names)))
    pairs = zip(classes.tolist(), values.tolist(), strict=True)
    return ", ".join(f"{names[k]} ({100 * probability:.2f} %)" for k, probability in pairs)


@without_gradients()
def warped_image(saved: SavedModel, image: Tensor) -> Tensor:
    """An image warped by the model's transformer: uint8 ``(C, H, W)`` to ``(C, h, w)``."""
    assert isinstance(saved.model, TransformsImages)
    warped = saved.model.transform(saved.normalise(image[None])).image
    return saved.pixels(warped.float())[0]


def write_picture(path: Path, saved: SavedModel, image: Tensor) -> None:
    """Write an image ``(C, H, W)`` and its warped version into one picture.

    Raises:
        UsageError: it cannot be written.
    """
    picture = side_by_side([image, warped_image(saved, image)])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def predict(arguments: argparse.Namespace) -> int:
    """Print a line for each image; 1 if an image could not be read or drawn.

    Raises:
        UsageError: the model cannot be read.
    """
    saved = open_model(arguments)
    draws = arguments.warped is not None and isinstance(saved.model, TransformsImages)
    if arguments.warped and not draws:
        name = saved.configuration.model
        print(f"--warped: {name} warps no images, so there are no pictures", file=sys.stderr)
    status = 0
    pictures = picture_paths(arguments.images, arguments.warped or Path())
    in_shape, background = saved.configuration.in_shape, saved.background
    for path, picture in zip(arguments.images, pictures, strict=True):
        try:
            image = read_image(path, in_shape, background, resize=arguments.resize)
            image = image.to(saved.device)
            print(printable(f"{path}: {prediction_line(saved, image, arguments.top)}"))
            if draws:
                write_picture(picture, saved, image)
        except UsageError as error:
            print(error, file=sys.stderr)
            status = 1
    return status
