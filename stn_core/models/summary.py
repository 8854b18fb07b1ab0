"""What a model is made of: its layers, the shapes between them and their parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from stn_core.errors import UsageError, needs_extra
from stn_core.models.registry import ImageShape, create_model

if TYPE_CHECKING:
    from torchinfo import ModelStatistics


def summarize_model(
    model: str | nn.Module,
    in_shape: ImageShape = (1, 28, 28),
    num_classes: int = 10,
    **options: Any,
) -> ModelStatistics:
    """A table of a model's layers, their output shapes and their parameters, to be printed.

    Args:
        model: a registered name, or a model.
        in_shape: channels, height and width of an image.
        num_classes: number of classes, if a name is given.
        options: the model's own, if a name is given.

    Returns:
        torchinfo's statistics: ``print`` shows the table, ``total_params`` and
        ``trainable_params`` are its sums. (Its count of multiplications takes a linear layer once,
        however many tokens go through it.)

    Raises:
        UsageError: as `create_model`; or a model that is given does not take such an image.
    """
    with needs_extra("suite"):
        from torchinfo import summary  # only where it is needed: training never asks

    if isinstance(model, str):
        model = create_model(model, in_shape, num_classes, **options)
    elif options:
        raise UsageError(f"options go with a model's name, not with a model: {', '.join(options)}")
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.get_default_dtype())
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.random.fork_rng(devices=[]):  # torchinfo draws a random image
            return summary(
                model,
                input_size=(1, *in_shape),
                dtypes=[dtype],
                col_names=("output_size", "num_params"),
                depth=4,
                verbose=0,
                mode="eval",
            )
    except RuntimeError as error:
        raise UsageError(f"the model does not accept images of {tuple(in_shape)}") from error
    finally:
        for (
            module,
            mode,
        ) in modes.items():  # torchinfo sets all of them to the mode of the whole model
            module.training = mode
