"""ONNX files: of every registered model another program's logits, from pixels, are ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from stn_core.datasets import load_dataset
from stn_core.errors import UsageError
from stn_core.models import create_model, list_models, model_info
from stn_core.models.onnx_files import write_onnx
from stn_core.models.saved_models import SavedModel
from tests.configurations import configuration_of
from tests.models.test_export import with_few_steps
from tests.models.test_laws import OPTIONS
from tests.nightly import mostly_nightly

# An export takes seconds.
with_most_nightly = pytest.mark.parametrize(
    "name", mostly_nightly(list_models(), on_every_run=["stn"])
)


def trained_a_step(name: str) -> tuple[SavedModel, torch.Tensor]:
    """A model after one step on real digits, or on coordinates, and images that it has not seen."""
    suits_pictures = not model_info(name).suits("coordinates_uniform")
    data = load_dataset("digits" if suits_pictures else "coordinates_uniform")
    torch.manual_seed(0)
    background = data.normalised_background
    options = OPTIONS.get(name, {})
    model = create_model(name, data.image_shape, data.num_classes, background, **options)
    configuration = configuration_of(
        name,
        data.image_shape,
        data.num_classes,
        mean=data.mean,
        std=data.std,
        background=background,
    )
    saved = SavedModel(with_few_steps(model), configuration)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images, labels = data.train.images[:64], data.train.labels[:64]
    F.cross_entropy(model(saved.normalise(images)), labels).backward()
    optimizer.step()
    model.eval()
    return saved, data.test.images[:100]


def exported_and_ours(name: str, folder: Path) -> tuple[NDArray, NDArray]:
    """The logits of an exported model as onnxruntime computes them, and those of the model."""
    saved, images = trained_a_step(name)
    write_onnx(folder / "model.onnx", saved)
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (theirs,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        ours = saved.model(saved.normalise(images)).numpy()
    names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    assert names == list(saved.configuration.class_names)
    (one,) = session.run(None, {"images": images[:1].numpy()})  # another batch
    np.testing.assert_allclose(one, theirs[:1], rtol=1e-3, atol=1e-4)
    return theirs, ours


@with_most_nightly
def test_another_program_finds_the_same_logits(name: str, tmp_path: Path) -> None:
    theirs, ours = exported_and_ours(name, tmp_path)
    # Sums in another order; a transformer turns differences of positions into those of pixels.
    assert np.abs(theirs - ours).max() <= 1e-4 * max(1, np.abs(ours).max())
    assert np.abs(ours - ours[:1]).max() > 1e-3  # the images are told apart


def test_a_model_that_does_not_convert_is_one_line_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise torch.onnx.errors.OnnxExporterError("failed") from RuntimeError("no svd\nin ONNX")

    monkeypatch.setattr(torch.onnx, "export", refused)
    saved, _ = trained_a_step("cnn")
    with pytest.raises(UsageError, match="cnn does not convert to ONNX: no svd in ONNX"):
        write_onnx(tmp_path / "model.onnx", saved)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    saved, _ = trained_a_step("cnn")
    with pytest.raises(UsageError, match="cannot write "):
        write_onnx(tmp_path / "file" / "model.onnx", saved)


def test_without_the_packages_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    saved = SavedModel(torch.nn.Identity(), configuration_of("cnn", (1, 28, 28)))
    with pytest.raises(UsageError, match=r"pip install 'stn-core\[onnx\]'"):
        write_onnx(tmp_path / "model.onnx", saved)
