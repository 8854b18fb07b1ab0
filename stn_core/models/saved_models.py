"""A trained model in one file: its weights, and all that it takes to use them elsewhere."""

from __future__ import annotations

import dataclasses
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stn_core.atomic_files import replaced_at_once
from stn_core.errors import UsageError, needs_extra, printable
from stn_core.models import create_model, list_models, model_info, registered_name
from stn_core.models.checksummed_tensors import read_sealed, sealed
from stn_core.models.normaliser import Normaliser
from stn_core.schema import Count, CountFrom1, Number, Share, checked

with needs_extra("data"):
    from safetensors import SafetensorError

FORMAT_VERSION = 1
"""Of the file's document; a file of another is refused."""

_HOW_TO_SAVE = "pytest benchmarks --save-models writes such files"


@dataclass(frozen=True)
class ModelConfiguration:
    """What a model was built with, what its images must be, and which run its weights are of.

    Args:
        model: the registered name.
        in_shape: channels, height and width of an image.
        class_names: one per class; logit k speaks for ``class_names[k]``.
        background: what an empty pixel is after normalisation, per channel.
        mean, std: of the training images' pixels in [0, 1], per channel.
        dataset, data_hash: what it was trained on.
        budget, seed, recipe_hash: how.
        kept_epoch: the epoch, from 1, that the weights are of.
        test_accuracy: in [0, 1]; None where the test set stayed closed, as it does in a search.
        stn_core: the version that trained it.
        imports: what the session's --import named; a model of one's own is registered there.
    """

    model: str
    in_shape: tuple[CountFrom1, CountFrom1, CountFrom1]
    class_names: tuple[str, ...]
    background: tuple[Number, ...]
    mean: tuple[Number, ...]
    std: tuple[Number, ...]
    dataset: str
    data_hash: str
    budget: str
    seed: Count
    recipe_hash: str
    kept_epoch: Count
    test_accuracy: Share | None
    stn_core: str
    imports: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @classmethod
    def from_dict(cls, values: Any) -> ModelConfiguration:
        """The configuration of a JSON object.

        Raises:
            UsageError: it is none, or a field is missing, unknown or of another type.
        """
        found = checked(cls, values, "its configuration: ")
        return dataclasses.replace(found, class_names=tuple(map(printable, found.class_names)))


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A trained model and what is known of it.

    Args:
        model: in evaluation mode; images ``(B, C, H, W)`` that are normalised to logits ``(B, K)``.
        configuration: the rest.
    """

    model: nn.Module
    configuration: ModelConfiguration

    @property
    def device(self) -> torch.device:
        """Where the model is; one without any state is anywhere, say on the CPU."""
        state = itertools.chain(self.model.parameters(), self.model.buffers())
        return next((tensor.device for tensor in state), torch.device("cpu"))

    @property
    def background(self) -> list[int]:
        """What an empty pixel is, per channel, in 0 to 255."""
        normalised = torch.tensor(self.configuration.background).reshape(-1, 1, 1)
        return self.pixels(normalised).flatten().tolist()

    def normalise(self, images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)``, uint8, to what the model sees, on their own device."""
        return self._normaliser(images.device)(images)

    def pixels(self, normalised: Tensor) -> Tensor:
        """What the model sees, a warped image say, ``(B, C, h, w)``, back to uint8 pixels."""
        return self._normaliser(normalised.device).pixels(normalised)

    def _normaliser(self, device: torch.device) -> Normaliser:
        memory_format = model_info(self.configuration.model).memory_format
        return Normaliser.of(self.configuration, device, memory_format)

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """How probable each class is: images ``(B, C, H, W)``, uint8, to ``(B, K)`` in [0, 1].

        The images must be on the model's device; the result is on the CPU.
        """
        logits: Tensor = self.model(self.normalise(images))
        return logits.float().softmax(1).cpu()


def save_model(path: Path, model: nn.Module, configuration: ModelConfiguration) -> None:
    """Write a model's weights and its configuration into one file, at once.

    What a model keeps outside its ``state_dict`` is not saved.

    Args:
        path: of the file; its folder is made where there is none.
        model: on any device.
        configuration: of that model.

    Raises:
        OSError: it cannot be written.
        AttributeError, SafetensorError: the state has something that is no plain tensor.
    """
    document = {"version": FORMAT_VERSION, "configuration": dataclasses.asdict(configuration)}
    content = sealed(document, model.state_dict())
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_at_once(path) as unfinished:
        unfinished.write_bytes(content)


def load_model(path: str | os.PathLike[str]) -> nn.Module:
    """A saved network, on the CPU and in evaluation mode.

    Its images must be normalised as in training: `read_saved_model` knows how.

    Args:
        path: of a file that ``--save-models`` wrote.

    Raises:
        UsageError: there is no such file, it is damaged or no saved model, no model of that name
            is registered, or the weights do not fit the model.
    """
    return read_saved_model(path).model


def read_saved_model(path: str | os.PathLike[str]) -> SavedModel:
    """A saved network and its configuration; arguments and errors as for `load_model`."""
    path = Path(path)
    document, weights = _read(path)
    if not isinstance(document, dict) or "configuration" not in document:
        raise UsageError(f"{path} is no saved model; {_HOW_TO_SAVE}")
    if document.get("version") != FORMAT_VERSION:
        raise UsageError(
            f"{path}: a saved model of version {document.get('version')} cannot be read;"
            f" this is version {FORMAT_VERSION}"
        )
    try:
        configuration = ModelConfiguration.from_dict(document["configuration"])
        return SavedModel(_rebuilt(configuration, weights), configuration)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _read(path: Path) -> tuple[Any, dict[str, Tensor]]:
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a .safetensors file in it")
    try:
        return read_sealed(path)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}; {_HOW_TO_SAVE}") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise UsageError(
            f"{path} is damaged or no saved model: {error}; copy it again, or train it again:"
            f" {_HOW_TO_SAVE}"
        ) from error


def _rebuilt(configuration: ModelConfiguration, weights: dict[str, Tensor]) -> nn.Module:
    """The model with these weights."""
    name = configuration.model
    if registered_name(name) not in list_models():
        imports = ",".join(configuration.imports)
        where = f" (its session had --import {imports})" if imports else ""
        raise UsageError(f"no model {name!r} is registered; import the module that does{where}")
    with torch.random.fork_rng(devices=[]):  # its first weights are replaced: nobody's draws move
        model = create_model(
            name, configuration.in_shape, configuration.num_classes, configuration.background
        )
    model = model.cpu().to(memory_format=model_info(name).memory_format)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        _, _, misfits = str(error).partition("\n")  # the first line only says that there are some
        raise UsageError(
            f"its weights, saved by stn_core {configuration.stn_core}, do not fit the model"
            f" {name!r} of today; take that version, or train it again"
            f" ({' '.join(misfits.split())[:300]})"
        ) from error
    return model.eval()
