"""A saved model comes back as it was; a file that is none is told in one line."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import pickle
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import stn_core
from stn_core.atomic_files import write_tensors
from stn_core.errors import UsageError
from stn_core.models import register_model, registry
from stn_core.models.saved_models import (
    load_model,
    read_saved_model,
    save_model,
)
from tests.configurations import configuration_of

SHAPE = (2, 5, 7)
CONFIGURATION = configuration_of(
    "tied", SHAPE, 3, mean=(0.1, 0.4), std=(0.3, 0.2), imports=("my_models",)
)


class Tied(nn.Module):
    """Two layers with one weight, running statistics, and a buffer that is not saved."""

    scale: Tensor

    def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_shape[0])
        self.first = nn.Linear(in_shape[0], in_shape[0])
        self.second = nn.Linear(in_shape[0], in_shape[0])
        self.second.weight = self.first.weight
        self.head = nn.Linear(in_shape[0], num_classes)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("scale", torch.tensor(3.0), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        rows = self.norm(images).mean(dim=(2, 3))
        logits: Tensor = self.head(self.drop(self.second(self.first(rows)).relu() * self.scale))
        return logits


@pytest.fixture(scope="module", autouse=True)
def own_model() -> Iterator[None]:
    """A user's model, registered for this module only."""
    register_model(name="tied")(Tied)
    yield
    registry._MODELS._entries.pop("tied", None)


def images(count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=generator)


def trained() -> nn.Module:
    """The model with weights and statistics that no fresh one has, still in training mode."""
    model = Tied(SHAPE, 3)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for _ in range(3):
            model(torch.randn(6, *SHAPE)).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    return model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A saved model."""
    path = tmp_path / "models" / "a.safetensors"
    save_model(path, trained(), CONFIGURATION)
    return path


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (torch.rand(4, *SHAPE), "got torch.float32: numbers in [0, 1], as of ToTensor"),
        (torch.zeros(4, *SHAPE, dtype=torch.int64), "got torch.int64"),
        (images()[:, :1], "got (4, 1, 5, 7)"),  # one channel would be broadcast to two
        (images()[0], "got (2, 5, 7)"),
        (images().numpy(), "in a tensor; got a ndarray"),
    ],
)
def test_images_of_another_kind_or_shape_are_refused_in_one_line(
    path: Path, wrong: Any, said: str
) -> None:
    saved = read_saved_model(path)
    for use in (saved.normalise, saved.probabilities):
        with pytest.raises(UsageError) as caught:
            use(wrong)
        assert str(caught.value).startswith("images for this model are uint8 of shape (B, 2, 5, 7)")
        assert said in str(caught.value)


def test_images_of_another_size_are_normalised_but_not_classified(path: Path) -> None:
    saved, smaller = read_saved_model(path), images()[..., :6]
    assert saved.normalise(smaller).shape == smaller.shape
    with pytest.raises(UsageError, match=r"got \(4, 2, 5, 6\)"):
        saved.probabilities(smaller)


def test_a_model_comes_back_ready_to_use(tmp_path: Path) -> None:
    model, path = trained(), tmp_path / "deep" / "a.safetensors"
    save_model(path, model, CONFIGURATION)
    saved = read_saved_model(str(path))
    assert isinstance(saved.model, Tied)
    assert not saved.model.training
    assert saved.model.first.weight is saved.model.second.weight
    assert saved.device == torch.device("cpu")
    assert saved.configuration == CONFIGURATION
    pixels = images().double() / 255
    mean, std = (
        torch.tensor(v, dtype=torch.float64).reshape(2, 1, 1) for v in ((0.1, 0.4), (0.3, 0.2))
    )
    expected = model.eval()(((pixels - mean) / std).float())
    # Normalised in another order: float32 of values below 10.
    torch.testing.assert_close(saved.model(saved.normalise(images())), expected)
    torch.testing.assert_close(saved.probabilities(images()), expected.softmax(1))
    assert torch.equal(
        load_model(path)(saved.normalise(images())), model(saved.normalise(images()))
    )
    assert list(path.parent.iterdir()) == [path]


def test_it_is_part_of_the_public_api() -> None:
    assert (stn_core.load_model, stn_core.read_saved_model) == (load_model, read_saved_model)


def test_a_channels_last_model_comes_back_in_that_format(tmp_path: Path) -> None:
    model = stn_core.create_model("cnn", (3, 28, 33), 3)
    configuration = configuration_of("cnn", (3, 28, 33), 3)
    save_model(tmp_path / "cnn", model, configuration)
    saved = read_saved_model(tmp_path / "cnn")
    assert saved.normalise(torch.zeros(2, 3, 28, 33, dtype=torch.uint8)).is_contiguous(
        memory_format=torch.channels_last
    )
    weights = [p for p in saved.model.parameters() if p.ndim == 4 and p.shape[1] > 1]
    assert weights
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)


def test_loading_draws_no_random_numbers(path: Path) -> None:
    state = torch.get_rng_state()
    load_model(path)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_configuration_is_json_in_the_metadata(path: Path) -> None:
    with safetensors.safe_open(path, framework="pt") as file:
        document = json.loads(file.metadata()["document"])
    assert document["configuration"]["class_names"] == ["0", "1", "2"]


def test_a_damaged_byte_anywhere_is_noticed(path: Path) -> None:
    intact = path.read_bytes()
    for position in range(0, len(intact), 11):
        damaged = bytearray(intact)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        assert_refused(path, "is damaged or not a saved model")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_torn_file_is_noticed(path: Path, share: float) -> None:
    intact = path.read_bytes()
    path.write_bytes(intact[: int(share * len(intact))])
    assert_refused(path, "is damaged or not a saved model: .*; copy it again")


def assert_refused(path: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match=pattern) as refusal:
        load_model(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_files_that_are_something_else(path: Path) -> None:
    assert_refused(path.parent / "b", "there is no file .*; pytest benchmarks --save-models writes")
    assert_refused(path.parent, "is a folder; name a .safetensors file in it")
    path.write_bytes(pickle.dumps({"weights": [1.0]}))
    assert_refused(path, "is damaged or not a saved model")
    safetensors.torch.save_file({"weights": torch.zeros(2)}, path, {"format": "pt"})
    assert_refused(path, "another program wrote it")
    write_tensors(path, {"weights": torch.zeros(2)}, {"owner": {}, "state": {}})
    assert_refused(path, "is not a saved model")
    write_tensors(path, {}, [1, 2])
    assert_refused(path, "is not a saved model")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"version": 2}, "of version 2 cannot be read; this is version 1"),
        ({"configuration": {"model": "tied"}}, "its configuration: in_shape is missing"),
        ({"configuration": 7}, "its configuration: expected an object, not 7"),
    ],
)
def test_a_saved_model_whose_document_lacks_fields_is_refused(
    path: Path, change: dict[str, object], complaint: str
) -> None:
    document = {"version": 1, "configuration": dataclasses.asdict(CONFIGURATION), **change}
    write_tensors(path, {}, document)
    assert_refused(path, complaint)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"in_shape": [2, 5]}, "in_shape must be a list of length 3"),
        ({"in_shape": [2, 5, 7.5]}, "must be a whole number, not 7.5"),
        ({"in_shape": [2, 5, 10**400]}, "is out of range"),
        ({"in_shape": [2, 5, 0]}, "must be 1 or more, not 0"),
        ({"in_shape": (2, 0, 7)}, "must be 1 or more, not 0"),
        ({"mean": ["a", "b"]}, "must be a number, not 'a'"),
        ({"mean": 0.5}, "mean must be a list, not 0.5"),
        ({"seed": "3"}, "seed must be a whole number, not '3'"),
        ({"background": (0.0,)}, "background has 1 values for images of 2 channel"),
        ({"colour": "red"}, "'colour' is not a field"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(
    path: Path, change: dict[str, object], complaint: str
) -> None:
    values = dataclasses.asdict(CONFIGURATION) | change
    write_tensors(path, {}, {"version": 1, "configuration": values})
    assert_refused(path, complaint)


@pytest.mark.parametrize(
    ("imports", "told"),
    [(("a", "b.py"), r"\(its session had --import a,b.py\)"), ((), "the module that does$")],
)
def test_an_unknown_model_says_what_to_import(
    tmp_path: Path, imports: tuple[str, ...], told: str
) -> None:
    configuration = dataclasses.replace(CONFIGURATION, model="gone", imports=imports)
    save_model(tmp_path / "a", trained(), configuration)
    assert_refused(tmp_path / "a", f"no model 'gone' is registered; .*{told}")


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for model in (nn.Linear(2, 3), Tied((3, 5, 7), 3)):
        save_model(path, model, CONFIGURATION)
        assert_refused(path, "saved by stn_core 0.1.0, do not fit the model 'tied' as it is.*")


def test_a_full_disk_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_model(path, trained(), dataclasses.replace(CONFIGURATION, seed=4))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


class WithExtraState(nn.Module):
    """Keeps something beside its tensors, as metrics and quantisers do."""

    def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(in_shape[0], num_classes)
        self.extra: object = {"version": 3}

    def get_extra_state(self) -> object:
        return self.extra

    def set_extra_state(self, state: object) -> None:
        self.extra = state

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(images.mean(dim=(2, 3)))
        return logits


def test_extra_state_of_json_types_comes_back(tmp_path: Path) -> None:
    register_model(name="tied_extra")(WithExtraState)
    model = WithExtraState(SHAPE, 3)
    model.extra = {"version": 4, "names": ["a", "b"]}
    configuration = dataclasses.replace(CONFIGURATION, model="tied_extra")
    save_model(tmp_path / "a", model, configuration)
    loaded = load_model(tmp_path / "a")
    model.extra = {"pair": (1, 2)}  # JSON has no tuples
    with pytest.raises(TypeError, match="must be of JSON types"):
        save_model(tmp_path / "a", model, configuration)
    assert isinstance(loaded, WithExtraState)
    assert loaded.extra == {"version": 4, "names": ["a", "b"]}
    assert torch.equal(loaded.head.weight, model.head.weight)


@pytest.mark.parametrize("name", ["cnn", "stn", "coordconv_cnn", "stn_cpab", "polar", "vit"])
def test_sizes_that_a_file_claims_cost_no_memory(tmp_path: Path, name: str) -> None:
    model = stn_core.create_model(name, (1, 28, 28), 3)
    configuration = configuration_of(name, (1, 30_000, 30_000), 3)
    save_model(tmp_path / "a", model, configuration)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(UsageError):  # one with no size of its own may load
        load_model(tmp_path / "a")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300_000  # KiB; a grid alone of that size takes 7 million


def test_a_file_whose_sizes_would_need_a_huge_layer_is_refused(tmp_path: Path) -> None:
    model = stn_core.create_model("cnn", (1, 28, 28), 3)
    save_model(tmp_path / "a", model, configuration_of("cnn", (1, 30_000, 30_000), 3))
    assert_refused(tmp_path / "a", r"do not fit the model 'cnn' as it is now; .* the model's is \(")


@pytest.mark.parametrize("name", ["mean", "std", "background"])
def test_a_value_for_each_channel(path: Path, name: str) -> None:
    values = dataclasses.asdict(CONFIGURATION) | {name: (0.5,) * 3}
    write_tensors(path, {}, {"version": 1, "configuration": values})
    assert_refused(path, f"{name} has 3 values for images of 2 channel")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert_refused(tmp_path / "pipe", "is not a regular file")
