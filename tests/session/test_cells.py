"""A cell is plain data, and its key is joined and split in one way."""

import json

import pytest

from stn_core.errors import UsageError
from stn_core.session.cells import Cell, CellKey, split_key
from stn_core.session.recipe import Recipe


def test_a_cell_survives_json():
    cell = Cell("stn", "mnist", "quick", Recipe(epochs=7, patience=4), is_search=True)
    assert Cell.from_dict(json.loads(json.dumps(cell.to_dict()))) == cell
    assert (cell.key, cell.id) == ("quick/mnist/stn", "mnist-stn")


@pytest.mark.parametrize(
    "key", [CellKey("smoke", "digits", "stn"), CellKey("full", "my-data", "stn[warp=tps]")]
)
def test_splitting_a_key_gives_the_names_that_were_joined(key):
    assert split_key(str(key)) == key


@pytest.mark.parametrize("text", ["", "stn", "a/b", "a/b/c/d", "a//c", "/b/c", "a/b/"])
def test_an_invalid_key_is_refused(text):
    with pytest.raises(UsageError, match="is not budget/dataset/model"):
        split_key(text)
