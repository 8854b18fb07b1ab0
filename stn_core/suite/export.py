"""What ``stn export`` does: writes a saved model as a file for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from stn_core.errors import printable
from stn_core.models.onnx_files import write_onnx
from stn_core.models.saved_models import read_saved_model
from stn_core.session.user_modules import import_models


def export(arguments: argparse.Namespace) -> int:
    """Write the file, and say what goes in and comes out.

    Raises:
        UsageError: the model cannot be had or does not convert.
    """
    names = (name.strip() for name in arguments.imports.split(","))
    import_models(filter(None, names), Path.cwd())
    saved = read_saved_model(arguments.model)
    write_onnx(arguments.onnx, saved)
    shape = ", ".join(map(str, saved.configuration.in_shape))
    classes = saved.configuration.num_classes
    said = f"images, uint8 (batch, {shape}), to logits, float32 (batch, {classes})"
    print(printable(f"{arguments.onnx}: {said}"))
    return 0
