"""``stn export``: writes a saved model as a file for other programs."""

from __future__ import annotations

import argparse

from stn_core.errors import UsageError, printable
from stn_core.models.onnx_files import write_onnx
from stn_core.models.saved_models import read_saved_model
from stn_core.suite.command_arguments import import_given


def export(arguments: argparse.Namespace) -> int:
    """Write the file, and print what goes in and what comes out.

    Raises:
        UsageError: the model cannot be read or does not convert, or the file is the model itself.
    """
    if arguments.onnx.exists() and arguments.onnx.samefile(arguments.model):
        raise UsageError(f"--onnx {arguments.onnx}: that is the model itself")
    import_given(arguments)
    saved = read_saved_model(arguments.model)
    write_onnx(arguments.onnx, saved)
    shape = ", ".join(map(str, saved.configuration.in_shape))
    classes = saved.configuration.num_classes
    said = f"images, uint8 (batch, {shape}), to logits, float32 (batch, {classes})"
    print(printable(f"{arguments.onnx}: {said}"))
    return 0
