"""Saved models that somebody else made or damaged: each is refused in one line, or loads."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from stn_core.atomic_files import write_tensors
from stn_core.errors import UsageError
from stn_core.models import create_model, register_model
from stn_core.models.saved_models import load_model, save_model
from tests.configurations import configuration_of
from tests.flat_linear import ExpandedBuffer

SHAPE = (1, 16, 16)


def document(version: Any = 1, **changes: Any) -> dict[str, Any]:
    configuration = dataclasses.asdict(configuration_of("cnn", SHAPE))
    return {"version": version, "configuration": {**configuration, **changes}}


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (document(version=True), "a saved model of version True cannot be read; this"),
        (document(version=1.0), "a saved model of version 1.0 cannot be read; this"),
        (document(version=10**300), "of version a whole number of 301 digits cannot be"),
        (document(in_shape=[1, 2**40, 2**40]), "in_shape is too large for an image: "),
        (document(std=[0.0]), r"std must be in \(0, 1\], not \(0.0,\)"),
        (document(std=[-1.0]), r"std must be in \(0, 1\]"),
    ],
)
def test_a_document_with_impossible_values_is_refused(
    tmp_path: Path, written: Any, complaint: str
) -> None:
    path = tmp_path / "model.safetensors"
    write_tensors(path, create_model("cnn", SHAPE, 10).state_dict(), written)
    with pytest.raises(UsageError, match=complaint) as caught:
        load_model(path)
    assert len(str(caught.value)) < 300


def test_a_deeply_nested_document_is_a_one_line_error(tmp_path: Path) -> None:
    path, text = tmp_path / "model.safetensors", "[" * 100_000
    checksum = hashlib.sha256(text.encode()).hexdigest()
    header = json.dumps({"__metadata__": {"document": text, "checksum": checksum}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(UsageError, match="its document is nested too deeply"):
        load_model(path)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64])
def test_weights_of_another_kind_do_not_fit(tmp_path: Path, dtype: torch.dtype) -> None:
    path, model = tmp_path / "model.safetensors", create_model("cnn", SHAPE, 10)
    state = {name: value.to(dtype) for name, value in model.state_dict().items()}
    write_tensors(path, state, document())
    with pytest.raises(
        UsageError, match=r"do not fit the model 'cnn' .* the model's is .* of real"
    ):
        load_model(path)


def test_a_buffer_whose_elements_share_memory_is_loaded(tmp_path: Path) -> None:
    register_model(name="expanded")(ExpandedBuffer)
    model = create_model("expanded", SHAPE, 10)
    model.offset = torch.full((1,), 3.0).expand(10)
    save_model(tmp_path / "model.safetensors", model, configuration_of("expanded", SHAPE))
    images = torch.rand(2, *SHAPE)
    assert load_model(tmp_path / "model.safetensors")(images).equal(model(images))
