"""The words of the command line that have a grammar of their own."""

from types import SimpleNamespace

import pytest

from stn_core.errors import UsageError
from stn_core.suite.option_values import (
    read_image_size,
    read_minutes,
    read_points,
    read_seeds,
    read_shard,
    read_share,
)
from stn_core.suite.plugin import pytest_xdist_auto_num_workers


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", (0, 1, 2)),
        ("3,", (3,)),
        ("0,3,7", (0, 3, 7)),
        ("10-12", (10, 11, 12)),
        ("0,10-12", (0, 10, 11, 12)),
    ],
)
def test_seeds(text, seeds):
    assert read_seeds(text) == seeds


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "a", "3,3", "1-3,2", "5-3", "5-3,7", "1.5", ",", "9" * 12, "1-" + "9" * 12],
)
def test_seeds_that_make_no_sense(text):
    with pytest.raises(UsageError, match="expected a count"):
        read_seeds(text)


def test_shards():
    assert read_shard("2/3") == (2, 3)


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "1/0", "-1/2", "a/b", "1/2/3"])
def test_shards_that_do_not_exist(text):
    with pytest.raises(UsageError, match="expected K/N"):
        read_shard(text)


@pytest.mark.parametrize(
    ("text", "size"), [("64", (64, 64)), ("45x60", (45, 60)), ("45X60", (45, 60))]
)
def test_sizes_of_images(text, size):
    assert read_image_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "x5", "5x", "45,60", "45x60x3", "-3", "1.5", "99999"])
def test_sizes_that_no_image_has(text):
    with pytest.raises(UsageError, match="expected pixels, N or HxW"):
        read_image_size(text)


@pytest.mark.parametrize(
    ("read", "fitting", "others", "expected"),
    [
        (read_minutes, ["0.5", "90", "1e5"], ["0", "-1", "1e6", "inf"], "a number of minutes"),
        (read_share, ["0.0001", "0.25", "1"], ["0", "1.01", "-1"], "a share of a card"),
        (read_points, ["0", "0.3", "99.9"], ["-0.1", "100", "inf"], "points .* to below 100"),
    ],
)
def test_numbers_within_bounds(read, fitting, others, expected):
    assert [read(text) for text in fitting] == [float(text) for text in fitting]
    for text in [*others, "", "nan", "many"]:
        with pytest.raises(UsageError, match=f"^expected {expected}.*, not {text!r}$"):
            read(text)


class FakeConfig:
    """As much of pytest's config as the number of workers depends on."""

    def __init__(self, *plugins, **options):
        self.options = options
        self.option = SimpleNamespace(plugins=list(plugins))

    def getoption(self, name):
        return self.options.get(name.removeprefix("stn_"))


@pytest.mark.parametrize(
    ("options", "gibibytes_of_cards", "workers"),
    [
        ({"device": "cpu"}, [], 8),
        ({"device": "cpu", "threads": 3}, [], 2),
        ({"device": "cpu", "threads": 99}, [], 1),
        ({}, [], 8),
        ({}, [4, 4], 2),
        ({"device": "cuda"}, [4] * 16, 8),
        ({"device": "cuda"}, [24], 3),
        ({"device": "cuda"}, [24, 12], 2),
        ({"device": "cuda"}, [80, 4], 2),
        ({"device": "cuda"}, [24, 24], 6),
        ({"device": "cuda"}, [80], 8),
        ({"device": "cuda", "threads": 4}, [80], 2),
        ({"device": "cuda:1"}, [80, 4], 1),
        ({"device": "cuda:0"}, [40, 4], 5),
        ({"device": "cuda:2"}, [80, 80], 1),
        ({"device": "mps"}, [80], 1),
    ],
)
def test_auto_oversubscribes_neither_cores_nor_cards(
    options, gibibytes_of_cards, workers, monkeypatch
):
    monkeypatch.setattr("stn_core.suite.plugin._available_cores", lambda: 8)
    monkeypatch.setattr("torch.cuda.is_available", lambda: bool(gibibytes_of_cards))
    monkeypatch.setattr("torch.cuda.device_count", lambda: len(gibibytes_of_cards))
    monkeypatch.setattr(
        "torch.cuda.get_device_properties",
        lambda card: SimpleNamespace(total_memory=gibibytes_of_cards[card] * 2**30),
    )
    assert pytest_xdist_auto_num_workers(FakeConfig("stn_core.suite.plugin", **options)) == workers


def test_unusable_cards_are_not_counted(monkeypatch):
    monkeypatch.setattr("stn_core.suite.plugin._available_cores", lambda: 8)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # the driver is too old
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert pytest_xdist_auto_num_workers(FakeConfig("stn_core.suite.plugin")) == 8


def test_auto_is_left_to_xdist_unless_the_plugin_is_used():
    assert pytest_xdist_auto_num_workers(FakeConfig("acme")) is None


def test_auto_is_left_to_xdist_if_its_own_variable_says_how_many(monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "3")
    assert pytest_xdist_auto_num_workers(FakeConfig("stn_core.suite.plugin")) is None
