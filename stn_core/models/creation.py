"""Build a model by name: with the weights of a fresh start, or with those of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from stn_core.errors import UsageError
from stn_core.models import registry
from stn_core.models.image_shape import check_images
from stn_core.models.registry import PRETRAINED, Background, ImageShape


def create_model(
    name: str,
    in_shape: ImageShape | None = None,
    num_classes: int | None = None,
    background: Background | None = None,
    *,
    pretrained: str | bool | None = None,
    **options: Any,
) -> nn.Module:
    """Build a registered model.

    Args:
        name: a registered name, that of a variant, such as ``"stn[warp=tps]"``, or another
            library's, such as ``"timm:resnet18"``.
        in_shape: channels C, height H and width W of an image.
        num_classes: number of classes K.
        background: value of an empty pixel after normalisation, one number or one per channel:
            what a warped image shows outside of the picture; 0 by default.
        pretrained: the dataset whose weights come with the package, such as ``"mnist"``. They
            decide the image shape, the classes and the background, which may be left out;
            `stn_core.models.pretrained.read_pretrained` also says how images are normalised. Of
            another library's model: whether to take the weights that the library has fetched
            before. A model of your own with an option of this name gets it as that option.
        options: the model's own, such as the ViT's ``patch``.

    Returns:
        A module from images ``(B, C, H, W)`` to logits ``(B, K)``; in evaluation mode if it has
        the weights of a dataset.

    Raises:
        UsageError: no model has that name or no such option, one that it needs is missing, the
            shape is not one it admits, there are no such weights, or they are of images with
            another shape, background or number of classes.
    """
    is_option = pretrained is not None and registry.has_option(name, PRETRAINED)
    if isinstance(pretrained, str) and not is_option:
        return _pretrained(name, pretrained, in_shape, num_classes, background, options)
    if pretrained is not None:
        if not is_option and not registry.is_of_library(name):
            raise UsageError(
                f"pretrained= takes the dataset that {name!r} was trained on, such as 'mnist', not"
                f" {pretrained!r}"
            )
        options[PRETRAINED] = pretrained
    if in_shape is None or num_classes is None:
        raise UsageError(f"model {name!r} needs in_shape and num_classes")
    background = 0.0 if background is None else background
    return registry.create_model(name, in_shape, num_classes, background, **options)


def _pretrained(
    name: str,
    dataset: str,
    in_shape: ImageShape | None,
    num_classes: int | None,
    background: Background | None,
    options: dict[str, Any],
) -> nn.Module:
    from stn_core.models.pretrained import read_pretrained  # which needs packages of an extra

    if options:
        raise UsageError(f"model {name!r} with trained weights takes no option {min(options)!r}")
    saved = read_pretrained(name, dataset)
    trained = saved.configuration
    in_shape = trained.in_shape if in_shape is None else in_shape
    classes = trained.num_classes if num_classes is None else num_classes
    check_images(in_shape, classes, 0.0 if background is None else background)
    shape = tuple(in_shape)
    if (shape, classes) != (trained.in_shape, trained.num_classes):
        raise UsageError(
            f"model {name!r} was trained on {dataset!r}, with images of {trained.in_shape} and"
            f" {trained.num_classes} classes; images of {shape} and {classes} classes do not fit"
        )
    if background is None:
        return saved.model
    if not _same_background(background, trained.background):
        raise UsageError(
            f"model {name!r} was trained on {dataset!r} with the background {trained.background},"
            f" not {background}; leave background= out"
        )
    return saved.model


def _same_background(given: Background, trained: tuple[float, ...]) -> bool:
    values = given if isinstance(given, Sequence) else [given] * len(trained)
    return all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(values, trained, strict=True))
