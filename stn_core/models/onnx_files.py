"""A saved model as an ONNX file that takes pixels, so that other programs need not normalise.

Its input ``images`` is uint8 ``(batch, C, H, W)``, its output ``logits`` float32 ``(batch, K)``;
its metadata hold the names of the classes.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from stn_core.atomic_files import replaced_at_once
from stn_core.errors import UsageError, require_package
from stn_core.models.normaliser import Normaliser
from stn_core.models.saved_models import SavedModel

TRACED_BATCH = 2
"""Images that the model is traced with; the file takes any number."""


class _FromPixels(nn.Module):
    """A model that normalises by itself.

    Args:
        saved: on the CPU.
    """

    def __init__(self, saved: SavedModel) -> None:
        super().__init__()
        self.model = saved.model
        self.normalise = Normaliser.of(saved.configuration, torch.device("cpu"))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(self.normalise(images))
        return logits


def write_onnx(path: Path, saved: SavedModel) -> None:
    """Write a saved model as an ONNX file with a dynamic batch.

    Args:
        path: of the file; its folder is created if needed.
        saved: on the CPU.

    Raises:
        UsageError: the packages of the extra ``onnx`` are not installed, the model does not convert
            or the file cannot be written.
    """
    for package in ("onnx", "onnxscript"):
        require_package(package, "ONNX", "onnx")
    configuration = saved.configuration
    images = torch.zeros((TRACED_BATCH, *configuration.in_shape), dtype=torch.uint8)
    try:
        with _quietly():
            program = torch.onnx.export(
                _FromPixels(saved).eval(),
                (images,),
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except torch.onnx.errors.OnnxExporterError as error:
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split())[:200]
        raise UsageError(f"{configuration.model} does not convert to ONNX: {reason}") from error
    assert program is not None
    program.model.metadata_props["class_names"] = json.dumps(configuration.class_names)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_at_once(path) as unfinished:
            program.save(unfinished)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def _quietly() -> Iterator[None]:
    """torch's exporter warns of parts of its own, and logs every operation that it knows."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
