"""Which baselines a session misses the cells of, and which it leaves in peace."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from stn_core.errors import UsageError
from stn_core.gate.baselines import Baselines
from stn_core.models import create_model, list_models, model_info, register_model, registry
from stn_core.session.budgets import get_budget
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.suite.matrix import (
    budget_matrix,
    cell_groups,
    plan_cells,
    share,
    small_groups,
    unsuitable_models,
    vanished_cells,
)
from tests.examples import baseline

OWN = get_budget("smoke").datasets


def missed(*keys, datasets=OWN, root=None, from_records=()):
    options = SimpleNamespace(
        budget="smoke", datasets=datasets, data_root=root, from_records=from_records
    )
    return vanished_cells(options, Baselines(dict.fromkeys(keys, baseline([0.9, 0.9])), {}))


def test_a_cell_that_can_run_is_not_missing():
    assert missed("smoke/digits/cnn", "smoke/digits_rts/stn") == {}


def test_a_model_is_missing_only_on_the_sessions_datasets():
    (reason,) = missed("smoke/digits/gone").values()
    assert reason.startswith(
        "the baseline's model is gone; --import it, or drop its entry by --drop"
    )
    assert missed("smoke/digits/gone", datasets=("digits_rts",)) == {}
    assert missed("quick/digits/gone") == {}


def test_an_unknown_dataset_with_a_baseline_is_missing_when_the_whole_budget_runs():
    (reason,) = missed("smoke/gone/cnn").values()
    assert reason.startswith(
        "the baseline's dataset is gone; name its --data-root, or drop its entry"
    )
    assert list(missed("smoke/gone/cnn", datasets=(*OWN, "mnist"))) == ["smoke/gone/cnn"]
    assert missed("quick/gone/cnn") == {}


@pytest.mark.parametrize("datasets", [("digits",), ("mnist",)])
def test_a_session_of_chosen_datasets_reports_no_other_as_missing(datasets):
    assert missed("smoke/gone/cnn", datasets=datasets) == {}


def test_records_made_elsewhere_need_no_data_here():
    assert missed("smoke/gone/cnn", from_records=("records.jsonl",)) == {}


def test_a_dataset_that_still_exists_is_not_missing(tmp_path):
    assert missed("smoke/mnist/cnn") == {}  # registered, and no dataset of the budget's
    assert list(missed("smoke/mine/cnn", root=str(tmp_path))) == ["smoke/mine/cnn"]
    (tmp_path / "mine.npz").touch()
    assert missed("smoke/mine/cnn", root=str(tmp_path)) == {}
    assert missed("smoke/mine_rts/cnn", root=str(tmp_path)) == {}
    (tmp_path / "pictures" / "kite").mkdir(parents=True)
    assert missed("smoke/pictures/cnn", root=str(tmp_path)) == {}
    assert list(missed("smoke/pictures/cnn")) == ["smoke/pictures/cnn"]


@pytest.mark.parametrize("measured", [0, 3])
def test_cells_that_were_never_measured_are_dealt_evenly_among_the_shards(measured):
    models = [f"model_{number}" for number in range(9)]
    cells = [Cell(model, "digits", "smoke", Recipe()) for model in models]
    stored = Baselines({cell.key: baseline([0.9, 0.9]) for cell in cells[:measured]}, {})
    shards = [share(cells, stored, "cpu", (number, 3)) for number in (1, 2, 3)]
    assert sorted(cell.model for shard in shards for cell in shard) == models
    assert [len(shard) for shard in shards] == [3, 3, 3]


def test_shards_are_dealt_by_the_times_of_their_own_device():
    cells = [Cell(model, "digits", "smoke", Recipe()) for model in ("a", "b", "c")]
    seconds = {"a": (9.0, 1.0), "b": (1.0, 9.0), "c": (1.0, 1.0)}  # on a CPU, on a card

    def measured(model):
        (run,) = baseline([0.9]).runs
        runs = [
            dataclasses.replace(run, device=device, train_seconds=time)
            for device, time in zip(("cpu", "cuda"), seconds[model], strict=True)
        ]
        return dataclasses.replace(baseline([0.9]), runs=tuple(runs))

    stored = Baselines({cell.key: measured(cell.model) for cell in cells}, {})
    for device, longest in (("cpu", "a"), ("cuda", "b")):
        assert {cell.model for cell in share(cells, stored, device, (1, 2))} == {longest}


def refusal(model, shape):
    """Why a model cannot be made for images of a shape; None where it can."""
    try:
        create_model(model, shape, 2)
    except UsageError as error:
        return str(error)
    return None


def test_models_that_cannot_take_the_images_are_left_out_with_a_line_each(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 16, 16), np.uint8)
    labels = np.arange(40) % 2
    arrays = {"x_train": pixels, "y_train": labels, "x_test": pixels, "y_test": labels}
    np.savez(tmp_path / "small.npz", **arrays)
    options = SimpleNamespace(
        budget="smoke",
        datasets=("small", "small_tc", "digits"),
        data_root=str(tmp_path),
        download=False,
        from_records=(),
        is_search=False,
        recipe=lambda *_: Recipe(),
        models=(),
        cells=(),
        image_size=None,
    )
    cells, left_out = plan_cells(options)
    planned = {(cell.dataset, cell.model) for cell in cells}
    for model in list_models():
        for dataset, shape in (("small", (1, 16, 16)), ("small_tc", (1, 34, 34))):
            if not model_info(model).suits(dataset):
                continue
            reason = refusal(model, shape)
            assert ((dataset, model) in planned) is (reason is None)
            assert left_out.get(f"smoke/{dataset}/{model}") == reason
        assert ((("digits", model)) in planned) is model_info(model).suits("digits")
    assert left_out


def test_a_mistaken_option_of_a_librarys_model_does_not_leave_it_out():
    names = ["timm:convnext_atto", "timm:test_resnet[foo=1]", "timm:test_resnet[pretrained=true]"]
    assert unsuitable_models(names, (1, 28, 28)).keys() == {"timm:convnext_atto"}


NAMES = ("one", "two", "three")


def test_a_projects_group_of_too_few_cells_is_said(monkeypatch):
    monkeypatch.setattr(registry._MODELS, "_entries", dict(registry._MODELS._entries))
    for name in NAMES:
        register_model(name=name, fits="acme*", tags="acme nets")(
            lambda in_shape, num_classes: None
        )
    stored = Baselines({}, {})
    cells = [Cell(name, "acme", "smoke", Recipe()) for name in NAMES]
    matrix = budget_matrix(cells, stored, "smoke")
    (line,) = small_groups(cells, matrix)
    assert line == "tag 'acme nets': 3 cells; a group is judged only if it has 4 or more"
    assert "acme nets" not in cell_groups(matrix)
    more = [*cells, Cell("one", "acme_2", "smoke", Recipe())]
    matrix = budget_matrix(more, stored, "smoke")
    assert small_groups(more, matrix) == []
    assert len(cell_groups(matrix)["acme nets"]) == 4
