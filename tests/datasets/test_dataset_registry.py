"""Datasets by name: those registered, those in the data folder, and names nobody knows."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stn_core.datasets import (
    Dataset,
    Sources,
    Split,
    assemble,
    check_dataset,
    list_datasets,
    load_dataset,
    register_dataset,
    registry,
)
from stn_core.errors import UsageError
from stn_core.registry import Registry


@pytest.fixture
def only_mine(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path | None, bool]]:
    """A registry that holds the dataset "mine" alone; returns the arguments of its builder."""
    monkeypatch.setattr(registry, "_DATASETS", Registry("dataset"))
    built: list[tuple[Path | None, bool]] = []

    @register_dataset("mine")
    def mine(root: Path | None, download: bool) -> Dataset:
        built.append((root, download))
        images = torch.arange(2 * 3 * 4, dtype=torch.uint8).reshape(2, 1, 3, 4)
        split = Split(images, torch.tensor([0, 1]))
        return assemble("mine", Sources(split, split, split, ("no", "yes")))

    return built


def complaint(load: Callable, name: str, root: Path | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        load(name, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_decorator_without_a_name_says_so_instead_of_registering_nothing() -> None:
    def nameless(root: Path | None, download: bool) -> Dataset:
        raise NotImplementedError

    with pytest.raises(UsageError, match="needs a name that is text"):
        register_dataset(nameless)


def test_the_shipped_datasets_are_listed() -> None:
    assert {"digits", "digits_rts", "fashion_mnist", "mnist"} <= set(list_datasets())
    for plain in ("mnist", "fashion_mnist"):
        kinds = [f"{plain}_{kind}" for kind in ("add", "e", "p", "r", "rts", "tc")]
        assert list_datasets(f"{plain}_*") == kinds
    assert {"digits", "digits_rts"} <= set(list_datasets("digits*"))
    assert "mnist" not in list_datasets("digits*")


def test_a_decorated_function_is_a_dataset(only_mine: list, tmp_path: Path) -> None:
    check_dataset("mine")
    assert not only_mine
    assert load_dataset("mine", str(tmp_path), download=True).class_names == ("no", "yes")
    assert load_dataset("mine").num_classes == 2
    assert only_mine == [(tmp_path, True), (None, False)]


def test_a_registered_check_is_asked(only_mine: list, tmp_path: Path) -> None:
    def refuse(root: Path | None, download: bool) -> None:
        raise UsageError(f"nothing in {root}")

    register_dataset("yours", check=refuse)(lambda root, download: pytest.fail("was loaded"))
    assert str(tmp_path) in complaint(check_dataset, "yours", tmp_path)


def test_a_name_can_be_taken_once(only_mine: list) -> None:
    with pytest.raises(UsageError, match="registered already"):
        register_dataset("mine")(lambda root, download: pytest.fail("was loaded"))


@pytest.mark.parametrize("load", [check_dataset, load_dataset])
def test_an_unknown_name_is_answered_with_the_nearest(load: Callable, tmp_path: Path) -> None:
    assert "did you mean digits" in complaint(load, "digts")
    np.savez(tmp_path / "letters.npz")
    message = complaint(load, "leters", tmp_path)
    assert "did you mean letters" in message
    assert str(tmp_path) in message
    assert "leters.npz" in complaint(load, "leters")
    assert "did you mean letters" in complaint(load, "LETTERS", tmp_path)
    for root in (tmp_path / "letters.npz", tmp_path / "nowhere"):
        assert f"(the data root {root} is not a folder)" in complaint(load, "letters", root)
    for number in (None, 5):
        assert "a dataset is one of birds, " in complaint(load, number, tmp_path)


@pytest.mark.parametrize("load", [check_dataset, load_dataset])
def test_a_path_is_not_a_valid_name(load: Callable, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    for folder in (tmp_path, inner):
        np.savez(folder / "letters.npz")
        np.savez(folder / ".npz")
    names = ["../letters", "./letters", "letters/", "inner/../letters", str(tmp_path / "letters")]
    for name in [*names, "", ".", "..", "let\nters", "let\0ters"]:
        assert "unknown dataset" in complaint(load, name, inner)


def test_a_known_name_is_listed_once(only_mine: list, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz")
    np.savez(tmp_path / "yours.npz")
    assert "known: mine, yours (" in complaint(load_dataset, "qqq", tmp_path)


@pytest.mark.parametrize("load", [check_dataset, load_dataset])
@pytest.mark.parametrize("name", ["mnist", "mnist_rts", "mnist_p"])
def test_a_file_that_a_registered_name_hides_is_reported(
    load: Callable, name: str, tmp_path: Path
) -> None:
    assert "rename" not in complaint(load, name, tmp_path)
    np.savez(tmp_path / "mnist.npz")
    message = complaint(load, name, tmp_path)
    assert "no train-images-idx3-ubyte in" in message
    hidden = f"({tmp_path / 'mnist.npz'} is not read, mnist is a registered dataset; rename it)"
    assert message.endswith(hidden)


def test_a_file_that_is_read_is_not_reported_as_hidden(tmp_path: Path) -> None:
    (tmp_path / "cifar10.npz").write_bytes(b"damaged")
    assert "rename" not in complaint(load_dataset, "cifar10", tmp_path)


@pytest.mark.parametrize("load", [check_dataset, load_dataset])
def test_a_name_too_long_for_a_file_is_one_line(load: Callable, tmp_path: Path) -> None:
    assert "cannot be read: File name too long" in complaint(load, 300 * "a", tmp_path)


@pytest.mark.parametrize("load", [check_dataset, load_dataset])
@pytest.mark.parametrize(
    ("name", "looked_for"),
    [
        ("mine", "mine.npz"),
        ("mine_rts", "mine_rts.npz"),
        ("mnist", "MNIST/raw/train-images-idx3-ubyte"),
        ("mnist_rts", "MNIST/raw/train-images-idx3-ubyte"),
        ("cifar10", "cifar10.npz"),
        ("birds", "CUB_200_2011"),
    ],
)
def test_a_folder_that_may_not_be_looked_into_is_one_line(
    load: Callable, name: str, looked_for: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Path.stat

    def forbidden(path: Path, **options: bool) -> os.stat_result:
        if tmp_path in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return look(path, **options)

    monkeypatch.setattr(Path, "stat", forbidden)
    message = complaint(load, name, tmp_path)
    assert message == f"{tmp_path / looked_for} cannot be read: Permission denied"


def test_a_registered_name_wins_over_a_file(only_mine: list, tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_bytes(b"damaged")
    load_dataset("mine", tmp_path)
    assert len(only_mine) == 1
