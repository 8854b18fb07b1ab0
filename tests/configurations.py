"""Configurations of models for the tests that save them."""

from __future__ import annotations

from typing import Any

from stn_core.models.saved_models import ModelConfiguration


def configuration_of(
    model: str, in_shape: tuple[int, int, int], num_classes: int = 10, **changes: Any
) -> ModelConfiguration:
    """What is known of a model; images are normalised to [-1, 1]."""
    channels = in_shape[0]
    values: dict[str, Any] = {
        "model": model,
        "in_shape": in_shape,
        "class_names": tuple(map(str, range(num_classes))),
        "background": (-1.0,) * channels,
        "mean": (0.5,) * channels,
        "std": (0.5,) * channels,
        "dataset": "digits",
        "data_hash": "d0d0d0d0d0d0d0d0",
        "budget": "smoke",
        "seed": 3,
        "recipe_hash": "c0dec0dec0de",
        "kept_epoch": 2,
        "test_accuracy": 0.9,
        "stn_core": "0.1.0",
    }
    return ModelConfiguration(**{**values, **changes})
