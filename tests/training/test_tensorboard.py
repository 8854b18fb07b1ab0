"""What TensorBoard shows is what a training and its record say, and it changes neither."""

import dataclasses
import math
import sys

import numpy as np
import pytest
import torch
from torch import nn

from stn_core import run_cell
from stn_core.errors import UsageError
from stn_core.session.artifacts import artifacts_path, read_artifacts
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training import event_file
from stn_core.training.callbacks import KeepArtifacts, SaveCheckpoints, WriteTensorBoard
from stn_core.training.event_file import in_a_row
from tests.event_files import hyperparameters, images, scalars
from tests.watching import OnEpoch

SCALES = (("*", 1.0),)
pytestmark = pytest.mark.usefixtures("few_digits")
CELL = Cell(
    "stn", "few_digits", "smoke", Recipe(epochs=3, batch_size=100, learning_rate_scales=SCALES)
)
DIVERGING = dataclasses.replace(
    CELL,
    model="cnn",
    recipe=Recipe(
        optimizer="sgd", learning_rate=1e30, schedule="constant", epochs=1, batch_size=100
    ),
)


def run(cell, folder, *callbacks):
    """The record of seed 3, and its folder for TensorBoard."""
    (record,) = run_cell(cell, [3], callbacks=[WriteTensorBoard(str(folder)), *callbacks])
    return record, folder / f"{cell.dataset}-{cell.model}-3"


@dataclasses.dataclass
class Shown:
    """A run, and what was written of it."""

    record: object
    folder: object
    history: object
    artifacts: object


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    histories = []
    tmp_path = tmp_path_factory.mktemp("shown")
    record, folder = run(
        CELL,
        tmp_path / "tensorboard",
        OnEpoch(lambda _, run: histories.append(run.history)),
        KeepArtifacts(str(tmp_path)),
    )
    artifacts = read_artifacts(artifacts_path(tmp_path, record.run_name))
    return Shown(record, folder, histories[-1], artifacts)


def float32(values):
    """Values as an event file holds them."""
    return [float(np.float32(value)) for value in values]


def test_every_steps_loss_is_at_its_step(shown):
    losses = torch.cat(shown.history.step_losses).tolist()
    assert scalars(shown.folder)["train/loss"] == list(enumerate(losses, start=1))


@pytest.mark.parametrize("name", ["loss", "accuracy"])
def test_every_epochs_validation_is_at_its_epoch(shown, name):
    values = float32(epoch[name] for epoch in shown.record.validation)
    assert scalars(shown.folder)[f"validation/{name}"] == list(enumerate(values, start=1))


def test_the_film_is_shown_frame_by_frame_beside_what_it_was_made_of(shown):
    warps = shown.artifacts.warps
    before, after = (images(shown.folder, f"warp/{tag}") for tag in ("before", "after"))
    assert list(before) == [0]
    assert list(after) == warps.film_epochs.tolist() == [0, 1, 2, 3]
    for picture, pixels in [
        (before[0], warps.batch),
        *zip(after.values(), warps.film, strict=True),
    ]:
        assert picture.shape == (28, 10 * 28, 3)
        for place, image in enumerate(pixels):
            assert np.array_equal(picture[:, 28 * place : 28 * (place + 1), 0], image[0])


def test_a_model_without_a_transformer_shows_no_pictures(tmp_path):
    _, folder = run(dataclasses.replace(CELL, model="cnn"), tmp_path)
    assert not any("warp/" in str(path.read_bytes()) for path in folder.iterdir())


def test_the_recipe_and_what_came_of_it_are_compared(shown):
    asked, tags, ended = hyperparameters(shown.folder)
    expected = {**shown.record.recipe, "learning_rate_scales": '[["*", 1.0]]'}
    expected |= {"model": "stn", "dataset": "few_digits", "budget": "smoke", "seed": 3}
    assert asked == {name: value for name, value in expected.items() if value is not None}
    record, last = shown.record, shown.record.validation[-1]
    metrics = {
        "final/test_accuracy": record.test_accuracy,
        "final/test_loss": record.test_cross_entropy,
        "final/validation_accuracy": last["accuracy"],
        "final/validation_loss": last["loss"],
        "final/parameters": record.parameters,
        "final/train_seconds": record.train_seconds,
    }
    written = scalars(shown.folder)
    assert {tag: written[tag] for tag in tags} == {
        tag: [(3, value)] for tag, value in zip(metrics, float32(metrics.values()), strict=True)
    }
    assert ended
    assert [path.is_file() for path in shown.folder.iterdir()] == [True]  # no run within the run


def test_the_metrics_are_those_of_the_epoch_that_was_kept(tmp_path):
    recipe = CELL.recipe.replace(
        {"epochs": 8, "learning_rate": 0.3, "schedule": "constant", "patience": 1}
    )
    record, folder = run(dataclasses.replace(CELL, model="cnn", recipe=recipe), tmp_path)
    assert record.kept_epoch < len(record.validation)
    kept = float32([record.validation_accuracy])[0]
    assert scalars(folder)["final/validation_accuracy"] == [(record.kept_epoch, kept)]


def test_a_search_shows_no_test_result(tmp_path):
    _, folder = run(dataclasses.replace(CELL, is_search=True), tmp_path)
    written = scalars(folder)
    assert "final/validation_accuracy" in written
    assert not any(tag.startswith("final/test") for tag in written)


def test_showing_a_run_changes_no_number(shown):
    (without,) = run_cell(CELL, [3])
    assert shown.record.digest == without.digest


def test_an_epoch_can_be_watched_as_soon_as_it_is_over(tmp_path):
    seen = []

    def watch(result, run):
        written = scalars(tmp_path / "few_digits-stn-3")
        seen.append((len(written["train/loss"]), written["validation/loss"][-1][0]))

    run(CELL, tmp_path, OnEpoch(watch))
    assert seen == [(3, 1), (6, 2), (9, 3)]


def test_a_run_that_goes_on_is_shown_like_an_undisturbed_one(shown, tmp_path):
    def interrupt(result, run):
        if result.epoch == 2:
            raise KeyboardInterrupt

    saving = SaveCheckpoints(str(tmp_path / "checkpoints"), seconds=0)
    with pytest.raises(KeyboardInterrupt):
        run(CELL, tmp_path, saving, OnEpoch(interrupt))
    folder = tmp_path / "few_digits-stn-3"
    assert [step for step, _ in scalars(folder)["validation/loss"]] == [1, 2]
    run(CELL, tmp_path, saving)
    resumed, undisturbed = scalars(folder), scalars(shown.folder)
    for written in (resumed, undisturbed):
        del written["final/train_seconds"]
    assert resumed == undisturbed
    for tag in ("warp/before", "warp/after"):
        again, first = images(folder, tag), images(shown.folder, tag)
        assert again.keys() == first.keys()
        assert all(np.array_equal(again[step], first[step]) for step in first)


def test_a_divergence_is_shown_to_its_last_step(tmp_path):
    record, folder = run(DIVERGING, tmp_path)
    assert record.status == "diverged"
    losses = scalars(folder)["train/loss"]
    assert [step for step, _ in losses] == [1, 2, 3]
    assert not all(math.isfinite(loss) for _, loss in losses)
    asked, _, ended = hyperparameters(folder)
    assert asked["learning_rate"] == 1e30
    assert not ended
    assert not any(tag.startswith("final/") for tag in scalars(folder))


def test_a_crash_keeps_the_recipe_and_nothing_of_an_earlier_attempt(tmp_path, monkeypatch):
    cell = dataclasses.replace(CELL, model="cnn")
    _, folder = run(cell, tmp_path)
    monkeypatch.setattr(
        "stn_core.training.run_cell.create_model", lambda *_, **options: nn.Identity()
    )
    record, _ = run(cell, tmp_path)
    assert record.status == "crashed"
    asked, _, ended = hyperparameters(folder)
    assert (asked["model"], ended, scalars(folder)) == ("cnn", False, {})


def test_other_peoples_files_stay(tmp_path):
    _, folder = run(DIVERGING, tmp_path)
    (folder / "notes.txt").touch()
    run(DIVERGING, tmp_path)
    assert len(list(folder.glob("*tfevents*"))) == 1
    assert (folder / "notes.txt").exists()


def test_a_folder_that_cannot_be_made_costs_a_warning_and_not_the_run(shown, tmp_path, caplog):
    (tmp_path / "few_digits-stn-3").touch()
    record, _ = run(CELL, tmp_path)
    assert record.digest == shown.record.digest
    (message,) = caplog.messages
    assert message.startswith("few_digits-stn-3: WriteTensorBoard failed: FileExistsError: ")


def test_a_disk_that_fills_up_costs_the_rest_of_the_file(shown, tmp_path, caplog, monkeypatch):
    writes = iter(range(9))

    class Full(event_file.RecordWriter):
        def write(self, data):
            if next(writes, None) is None:
                raise OSError(28, "No space left on device")
            super().write(data)

    monkeypatch.setattr(event_file, "RecordWriter", Full)
    record, folder = run(CELL, tmp_path)
    assert record.digest == shown.record.digest
    (message,) = caplog.messages
    assert message.endswith("No space left on device")
    # The file's version, 3 steps, 2 results and 3 pictures; nothing of the second epoch.
    assert scalars(folder)["train/loss"] == scalars(shown.folder)["train/loss"][:3]


def test_warps_that_are_no_images_cost_the_rest_of_the_file(shown, tmp_path, caplog, monkeypatch):
    class Broken(event_file.Film):
        def take(self, epoch):
            self.frames[epoch] = torch.zeros(7)

    monkeypatch.setattr(event_file, "Film", Broken)
    record, folder = run(CELL, tmp_path)
    assert record.digest == shown.record.digest
    assert len(caplog.messages) == 1
    assert [step for step, _ in scalars(folder)["validation/loss"]] == [1]


def test_without_its_package_a_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(
        UsageError, match=r"is not installed: pip install 'stn-core\[tensorboard\]'$"
    ):
        run(CELL, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_the_option_no_package_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "stn_core.training.event_file")
    (record,) = run_cell(DIVERGING, [3])
    assert record.status == "diverged"


@pytest.mark.parametrize(("channels", "shape"), [(1, (1, 4, 30)), (3, (3, 4, 30)), (2, (1, 8, 30))])
def test_images_of_any_channels_stand_side_by_side(channels, shape):
    pixels = torch.arange(6 * channels * 4 * 5, dtype=torch.uint8).reshape(6, channels, 4, 5)
    row = in_a_row(pixels)
    assert row.shape == shape
    planes = row.reshape(channels, 4, 6, 5)  # an oracle: the axes of what was put together
    assert torch.equal(planes.permute(2, 0, 1, 3), pixels)
