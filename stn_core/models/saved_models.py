"""A trained model in one file: its weights, and all that it takes to use them elsewhere."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from stn_core.errors import UsageError, needs_extra, printable, user_path

with needs_extra("data"):  # which has all that follows
    from safetensors import SafetensorError

from stn_core.atomic_files import read_tensors, write_tensors
from stn_core.models.normaliser import Normaliser
from stn_core.models.registry import create_model, is_registered, model_info, untrained_name
from stn_core.models.weights_loading import load_weights
from stn_core.models.without_gradients import without_gradients
from stn_core.schema import Count, CountFrom1, Number, Share, checked, shown

FORMAT_VERSION = 1
"""Of the file's document; a file of another is refused."""

MOST_BUFFER_BYTES = 2**30
"""A model whose buffers take more is not loaded; those of the largest take a thousandth of it."""

MOST_IMAGE_VALUES = 2**31
"""Pixels times channels, 32 times the pixels of the largest image file that is read: sizes of
layers that follow from more may be beyond what torch can count."""

_HOW_TO_SAVE = "pytest benchmarks --save-models writes such files"


@dataclass(frozen=True)
class ModelConfiguration:
    """What a model was built with, what its images must be, and which run its weights are of.

    Args:
        model: its name, a variant's or another library's too.
        in_shape: channels, height and width of an image.
        class_names: one per class; logit k belongs to ``class_names[k]``.
        background: what an empty pixel is after normalisation, per channel.
        mean, std: of the training images' pixels in [0, 1], per channel.
        dataset, data_hash: what it was trained on.
        budget, seed, recipe_hash: how.
        kept_epoch: the epoch, from 1, that the weights are of.
        test_accuracy: in [0, 1]; None if the test set was not used, as in a search.
        stn_core: the version that trained it.
        imports: what the session's --import named; they register the user's models.
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
            UsageError: it is not a configuration, or a field is missing, unknown or of another
                type.
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
        """Images ``(B, C, h, w)``, uint8, to what the model sees, on their own device.

        Raises:
            UsageError: the images are not uint8, or do not have the model's channels.
        """
        self._check_images(images, any_size=True)
        return self._normaliser(images.device)(images)

    def pixels(self, normalised: Tensor) -> Tensor:
        """What the model sees, a warped image say, ``(B, C, h, w)``, back to uint8 pixels."""
        return self._normaliser(normalised.device).pixels(normalised)

    def _normaliser(self, device: torch.device) -> Normaliser:
        memory_format = model_info(self.configuration.model).memory_format
        return Normaliser.of(self.configuration, device, memory_format)

    @without_gradients()
    def probabilities(self, images: Tensor) -> Tensor:
        """How probable each class is: images ``(B, C, H, W)``, uint8, to ``(B, K)`` in [0, 1].

        The images must be on the model's device; the result is on the CPU.

        Raises:
            UsageError: the images are not uint8, or not of the shape that the model was trained on.
        """
        self._check_images(images)
        logits: Tensor = self.model(self.normalise(images))
        return logits.float().softmax(1).cpu()

    def _check_images(self, images: Tensor, *, any_size: bool = False) -> None:
        shape = self.configuration.in_shape
        wanted = f"images for this model are uint8 of shape (B, {', '.join(map(str, shape))})"
        if not isinstance(images, Tensor):
            raise UsageError(f"{wanted}, in a tensor; got a {type(images).__name__}")
        if images.dtype != torch.uint8:
            raise UsageError(
                f"{wanted}; got {images.dtype}: numbers in [0, 1], as of ToTensor, become pixels by"
                " (255 * images).round().to(torch.uint8)"
            )
        fits = images.shape[1:2] == shape[:1] and images.ndim == 4
        if not fits or not (any_size or images.shape[1:] == shape):
            raise UsageError(f"{wanted}; got {tuple(images.shape)}")


def save_model(path: Path, model: nn.Module, configuration: ModelConfiguration) -> None:
    """Write a model's weights and its configuration into one file, at once.

    What a model keeps outside its ``state_dict`` is not saved.

    Args:
        path: of the file; its folder is created if needed.
        model: on any device.
        configuration: of that model.

    Raises:
        OSError: it cannot be written.
        TypeError, SafetensorError: the state has something that is neither a plain tensor nor of
            JSON types.
    """
    document = {"version": FORMAT_VERSION, "configuration": dataclasses.asdict(configuration)}
    state = model.state_dict()
    extra = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
    if extra:
        if json.loads(json.dumps(extra)) != extra:
            raise TypeError(f"{', '.join(extra)}: extra state must be of JSON types")
        document["extra_state"] = extra
    write_tensors(path, {name: state[name] for name in state if name not in extra}, document)


def load_model(path: str | os.PathLike[str]) -> nn.Module:
    """A saved network, on the CPU and in evaluation mode.

    Its images must be normalised as in training: `read_saved_model` knows how.

    Args:
        path: of a file that ``--save-models`` wrote.

    Raises:
        UsageError: there is no such file, it is damaged or not a saved model, no model of that name
            is registered, or the weights do not fit the model.
    """
    return read_saved_model(path).model


def read_saved_model(path: str | os.PathLike[str]) -> SavedModel:
    """A saved network and its configuration; arguments and errors as for `load_model`."""
    path = user_path(path)
    weights, document = _read(path)
    if not isinstance(document, dict) or "configuration" not in document:
        raise UsageError(f"{path} is not a saved model; {_HOW_TO_SAVE}")
    version = document.get("version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise UsageError(
            f"{path}: a saved model of version {shown(version)} cannot be read;"
            f" this is version {FORMAT_VERSION}"
        )
    try:
        configuration = ModelConfiguration.from_dict(document["configuration"])
        _check_values(configuration)
        extra = checked(dict[str, Any], document.get("extra_state", {}), "its extra state: ")
        return SavedModel(_rebuilt(configuration, weights, extra), configuration)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _read(path: Path) -> tuple[dict[str, Tensor], Any]:
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a .safetensors file in it")
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise UsageError(f"{path} is not a regular file")
        return read_tensors(path)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}; {_HOW_TO_SAVE}") from None
    except UsageError:
        raise
    except (OSError, ValueError, SafetensorError) as error:
        raise UsageError(
            f"{path} is damaged or not a saved model: {error}; copy it again, or train it again:"
            f" {_HOW_TO_SAVE}"
        ) from error


def _check_values(configuration: ModelConfiguration) -> None:
    """Check what the types of the fields do not ensure."""
    channels = configuration.in_shape[0]
    if math.prod(configuration.in_shape) > MOST_IMAGE_VALUES:
        raise UsageError(f"in_shape is too large for an image: {shown(configuration.in_shape)}")
    if not all(0 < std <= 1 for std in configuration.std):
        raise UsageError(f"std must be in (0, 1], not {shown(configuration.std)}")
    for name in ("mean", "std", "background"):
        count = len(getattr(configuration, name))
        if count != channels:
            raise UsageError(f"{name} has {count} values for images of {channels} channel(s)")


def _rebuilt(
    configuration: ModelConfiguration, weights: dict[str, Tensor], extra: dict[str, Any]
) -> nn.Module:
    """The model with these weights."""
    name = configuration.model
    if not is_registered(name):
        imports = ",".join(configuration.imports)
        where = f" (its session had --import {imports})" if imports else ""
        raise UsageError(f"no model {name!r} is registered; import the module that does{where}")
    with torch.random.fork_rng(devices=[]):  # its weights are replaced: no other random draw moves
        if misfits := _misfits(_kinds(configuration), weights):
            raise _do_not_fit(configuration, misfits)
        model = _fresh(configuration).cpu()
    try:
        load_weights(model, {**weights, **extra})
    except RuntimeError as error:
        _, _, misfits = str(error).partition("\n")  # the first line only says that there are some
        raise _do_not_fit(configuration, " ".join(misfits.split())) from error
    return model.to(memory_format=model_info(name).memory_format).eval()


def _fresh(configuration: ModelConfiguration) -> nn.Module:
    return create_model(
        untrained_name(configuration.model),
        configuration.in_shape,
        configuration.num_classes,
        configuration.background,
    )


def _kinds(configuration: ModelConfiguration) -> dict[str, str] | None:
    """The shapes and kinds of the model's state, by name, found without allocating it.

    None for a model that cannot be built that way, or that learns its sizes from its first images.
    """
    try:
        with torch.device("meta"):
            model = _fresh(configuration)
    except UsageError:
        raise
    except Exception:  # a user's builder may read values, and there are none
        return None
    tensors = [*model.parameters(), *model.buffers()]
    if any(is_lazy(tensor) for tensor in tensors):
        return None
    unsaved = sum(tensor.nbytes for tensor in model.buffers())
    if unsaved > MOST_BUFFER_BYTES:
        raise UsageError(
            f"the model {configuration.model!r} for images of {configuration.in_shape} needs"
            f" {unsaved / 2**30:.0f} GiB beside its weights: is the file damaged?"
        )
    state = model.state_dict()
    return {name: _kind(value) for name, value in state.items() if isinstance(value, Tensor)}


def _kind(tensor: Tensor) -> str:
    """The shape and the kind of numbers of a tensor; their precision may differ."""
    is_real = tensor.is_floating_point()
    numbers = "complex" if tensor.is_complex() else "real" if is_real else "whole"
    return f"{tuple(tensor.shape)} of {numbers} numbers"


def _misfits(kinds: Mapping[str, str] | None, weights: Mapping[str, Tensor]) -> str:
    """How the weights in a file differ from those of the model; "" if they do not."""
    if kinds is None:
        return ""
    found = {name: _kind(tensor) for name, tensor in weights.items()}
    parts = [f"{name} is missing" for name in kinds.keys() - found.keys()]
    parts += [f"{name} is not in the model" for name in found.keys() - kinds.keys()]
    parts += [
        f"{name} is {found[name]}, the model's is {kinds[name]}"
        for name in kinds.keys() & found.keys()
        if found[name] != kinds[name]
    ]
    return "; ".join(sorted(parts))


def _do_not_fit(configuration: ModelConfiguration, misfits: str) -> UsageError:
    return UsageError(
        f"its weights, saved by stn_core {configuration.stn_core}, do not fit the model"
        f" {configuration.model!r} as it is now; install that version, or train it again"
        f" ({misfits[:300]})"
    )
