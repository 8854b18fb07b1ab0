"""stn export: the file of a trained model answers from pixels as the model does."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from stn_core import Cell, Recipe, load_dataset, run_cell
from stn_core.models.saved_models import read_saved_model
from stn_core.suite.commands import main
from stn_core.training.callbacks import SaveModels


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier of real digits, as --save-models leaves it."""
    folder = tmp_path_factory.mktemp("models")
    run_cell(
        Cell("cnn", "digits", "smoke", Recipe(epochs=2)), [0], None, None, [SaveModels(str(folder))]
    )
    return folder / "digits-cnn-0.safetensors"


def test_the_file_classifies_real_digits_as_the_model_does(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "digits.onnx"
    assert main(["export", str(trained), "--onnx", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.strip() == (
        f"{out}: images, uint8 (batch, 1, 28, 28), to logits, float32 (batch, 10)"
    )
    test = load_dataset("digits").test
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": test.images.numpy()})
    saved = read_saved_model(trained)
    with torch.no_grad():
        ours = saved.model(saved.normalise(test.images))
    np.testing.assert_allclose(logits, ours.numpy(), rtol=1e-4, atol=1e-4)
    accuracy = (logits.argmax(1) == test.labels.numpy()).mean()
    assert accuracy == pytest.approx(saved.configuration.test_accuracy, abs=0.002)
    assert accuracy > 0.5  # after two epochs; chance is 0.1


def test_a_model_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(tmp_path / "none.safetensors"), "--onnx", str(tmp_path / "a.onnx")]
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("there is no file ")


def test_the_model_itself_is_not_overwritten(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = trained.read_bytes()
    assert main(["export", str(trained), "--onnx", str(trained)]) == 2
    assert capsys.readouterr().err == f"--onnx {trained}: that is the model itself\n"
    assert trained.read_bytes() == before
