"""Which models exist, what is known of each, and how to build one by name.

A name with a colon is another library's model: ``timm:resnet18`` (see `libraries`). Such models are
no entries of the registry: a library has hundreds, and is imported when one of them is wanted.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import torch
from torch import nn

from stn_core.errors import UsageError, unknown_name
from stn_core.models.image_shape import check_images
from stn_core.models.variants import parse_variant, plain_value, variant_name
from stn_core.registry import Registry, check_name

ImageShape = tuple[int, int, int]
"""Channels, height and width of an image."""

Background = float | Sequence[float]
"""What an empty pixel is after normalisation: one number, or one per channel."""

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])

IMAGES = ("*", "!coordinates_*")
"""Every dataset of images; those of coordinates (Not-so-Clevr) have models of their own."""


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without building it.

    Args:
        family: the kind of architecture, which a recipe may depend on ("stn", "vit").
        source: the paper or the package that the architecture comes from.
        fits: shell patterns of the names of datasets that suit the model; one that begins with "!"
            excludes what it matches.
        starts_at_identity: an untrained one leaves its input where it is.
        core: one of the few that a default run trains.
        tags: groups that it belongs to besides its family ("CoordConv"); models that share a tag
            are also judged together.
        channels_last: trained with channels-last weights and images, which convolutions like; a
            model that calls ``.view`` on a feature map cannot be.
    """

    family: str = "own"
    source: str = ""
    fits: tuple[str, ...] = IMAGES
    starts_at_identity: bool = False
    core: bool = False
    channels_last: bool = False
    tags: tuple[str, ...] = ()

    @property
    def memory_format(self) -> torch.memory_format:
        """How its weights and images lie in memory."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def suits(self, dataset: str) -> bool:
        """Whether the model makes sense on the dataset of that name."""
        matching = [p for p in self.fits if fnmatch.fnmatchcase(dataset, p.removeprefix("!"))]
        return bool(matching) and not any(pattern.startswith("!") for pattern in matching)


@dataclass(frozen=True)
class _Entry:
    builder: Callable[..., nn.Module]
    info: ModelInfo
    options: Mapping[str, Any]
    """Name to default; `_NEEDED` if it has no default."""
    takes_any: bool
    """Whether its builder takes options that it does not name."""


@dataclass(frozen=True)
class Library:
    """Models of another library, by their names there.

    Args:
        info: of all of them.
        check: raises a UsageError if the library is not installed or has no model of a name.
        build: makes one: of its name, and what a builder takes.
    """

    info: ModelInfo
    check: Callable[[str], None]
    build: Callable[..., nn.Module]


PRETRAINED = "pretrained"
"""The option of a library's model by which it starts with weights that were trained elsewhere."""

_ARGUMENTS = {"name", "in_shape", "num_classes"}
"""What `create_model` takes before the options; ``background`` it passes on."""

_MODELS: Registry[_Entry] = Registry("model")
_LIBRARIES: Registry[Library] = Registry("library of models")
_NEEDED = inspect.Parameter.empty


def register_library(prefix: str, library: Library) -> None:
    """Make a library's models known as ``prefix:name``."""
    _LIBRARIES.add(prefix, library)


def is_registered(name: str) -> bool:
    """Whether a model of that name, or the model that it is a variant of, is known here.

    Of another library's model that is not asked of the library.

    Raises:
        UsageError: the name is malformed.
    """
    base, _ = _split(name)
    return base in _MODELS or is_of_library(base)


def is_of_library(name: str) -> bool:
    """Whether a name is that of another library's model, "timm:resnet18", or of a variant of one.

    Raises:
        UsageError: the name is malformed.
    """
    base, _ = _split(name)
    prefix, colon, _ = base.partition(":")
    return base not in _MODELS and bool(colon) and prefix in _LIBRARIES


def has_option(name: str, option: str) -> bool:
    """Whether a model that is registered here, and not another library's, names such an option.

    Raises:
        UsageError: the name is malformed.
    """
    base, _ = _split(name)
    return base in _MODELS and option in _MODELS[base].options


def _entry(base: str) -> _Entry:
    """What is known of a model; of another library's without asking the library."""
    prefix, colon, name = base.partition(":") if isinstance(base, str) else ("", "", "")
    if not colon or base in _MODELS:
        return _MODELS[base]
    if prefix not in _LIBRARIES:
        raise unknown_name("model", base, [*_MODELS, *(f"{each}:{name}" for each in _LIBRARIES)])
    library = _LIBRARIES[prefix]
    options = {PRETRAINED: False}
    return _Entry(functools.partial(library.build, name), library.info, options, takes_any=True)


def _check_library(base: str) -> None:
    """Ask the library whether it has such a model."""
    prefix, colon, name = base.partition(":")
    if colon and base not in _MODELS and prefix in _LIBRARIES:
        _LIBRARIES[prefix].check(name)


@overload
def register_model(builder: Builder, /) -> Builder: ...
@overload
def register_model(
    *,
    name: str | None = ...,
    family: str = ...,
    source: str = ...,
    fits: str | Iterable[str] = ...,
    starts_at_identity: bool = ...,
    core: bool = ...,
    channels_last: bool = ...,
    tags: str | Iterable[str] = ...,
    options: Mapping[str, Any] | None = ...,
) -> Callable[[Builder], Builder]: ...
def register_model(
    builder: Builder | None = None,
    /,
    *,
    name: str | None = None,
    family: str = "own",
    source: str = "",
    fits: str | Iterable[str] = IMAGES,
    starts_at_identity: bool = False,
    core: bool = False,
    channels_last: bool = False,
    tags: str | Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
) -> Builder | Callable[[Builder], Builder]:
    """Make a builder known by name, as a decorator with or without arguments.

    A builder takes the image shape ``(C, H, W)`` and the number of classes, and returns a module
    that maps images ``(B, C, H, W)`` to logits ``(B, classes)``; it may be a module's class. Its
    further parameters are the model's options, by keyword; one called ``background`` receives the
    value of an empty pixel. A person sets options in the model's name, as in ``"tiny[width=64]"``::

        @register_model(family="mlp")
        def tiny(in_shape, num_classes, width=32):
            return nn.Sequential(
                nn.Flatten(), nn.Linear(math.prod(in_shape), width), nn.Linear(width, num_classes)
            )

    Args:
        builder: the function that builds the model, if the decorator is used without parentheses.
        name: the model's, if it is not the builder's.
        family: see :class:`ModelInfo`, as for the other arguments.
        source: the paper or package.
        fits: one shell pattern of dataset names, or several.
        starts_at_identity: an untrained model leaves its input where it is.
        core: part of a default run.
        channels_last: trained in that memory format.
        tags: one group, or several; see :class:`ModelInfo`.
        options: names and defaults of what a builder takes as ``**options``; without them it gets
            any option.

    Raises:
        UsageError: the name is taken, a tag is not a printable name, or an option has the name of
            one of `create_model`'s own arguments.
    """
    patterns = (fits,) if isinstance(fits, str) else tuple(fits)
    groups = (tags,) if isinstance(tags, str) else tuple(tags)
    for tag in groups:
        check_name("tag", tag)
    info = ModelInfo(family, source, patterns, starts_at_identity, core, channels_last, groups)

    def register(function: Builder) -> Builder:
        parameters = list(inspect.signature(function).parameters.values())
        unnamed = [p for p in parameters if p.kind is p.VAR_KEYWORD]
        # The first two are the shape and the classes.
        named = {p.name: p.default for p in parameters[2:] if p not in unnamed}
        named.pop("background", None)
        takes_any = bool(unnamed) and options is None
        entry = _Entry(function, info, {**named, **(options or {})}, takes_any)
        for taken in sorted(_ARGUMENTS.intersection(entry.options)):
            raise UsageError(
                f"model {name or function.__name__!r}: create_model has an argument {taken!r} of"
                " its own; give the option another name"
            )
        _MODELS.add(name or function.__name__, entry)
        return function

    return register if builder is None else register(builder)


def list_models(pattern: str = "*", *, core: bool | None = None) -> list[str]:
    """The names of the registered models, sorted.

    Args:
        pattern: a shell pattern such as ``"stn_*"``.
        core: only those that are, or are not, part of a default run; None lists both.
    """
    names = _MODELS.names(pattern)
    return [name for name in names if core is None or _MODELS[name].info.core is core]


def model_info(name: str) -> ModelInfo:
    """What is known of a registered model, or of a variant of one, which is not ``core``.

    Raises:
        UsageError: no model has that name or that option, or the name is malformed.
    """
    base, options = _split(name)
    info = _entry(base).info
    _check_options(base, options)
    return dataclasses.replace(info, core=False) if options else info


def model_name(name: str) -> str:
    """The one name of a model or a variant, however it was spelled.

    Options are sorted, numbers are written in one way, and what is the default is left out::

        model_name("stn[ warp=tps, sampler=bilinear ]") == "stn[warp=tps]"

    Raises:
        UsageError: no model has that name or that option, or the name is malformed.
    """
    base, options = _split(name)
    _check_options(base, options)
    _check_library(base)
    defaults = _entry(base).options
    changed = {
        option: value
        for option, value in options.items()
        if option not in defaults or not _same(value, defaults[option])
    }
    return variant_name(base, changed)


def untrained_name(name: str) -> str:
    """The name of the same model with random weights, for one whose weights are given later.

    Raises:
        UsageError: the name is malformed.
    """
    base, options = _split(name)
    if base in _MODELS:
        return name
    return variant_name(base, {o: value for o, value in options.items() if o != PRETRAINED})


def create_model(
    name: str,
    in_shape: ImageShape,
    num_classes: int,
    background: Background = 0.0,
    **options: Any,
) -> nn.Module:
    """Build a registered model, with the weights of a fresh start.

    Its arguments, result and errors are those of `stn_core.create_model`, which also builds one
    with the weights of a training.
    """
    base, named_options = _split(name)
    entry = _entry(base)
    check_images(in_shape, num_classes, background)
    for option in sorted(set(options) & set(named_options)):
        raise UsageError(f"model {name!r}: the option {option!r} is given twice")
    options = {**named_options, **options}
    _check_options(base, options)
    _check_library(base)
    for option, default in entry.options.items():
        if default is _NEEDED and option not in options:
            raise UsageError(f"model {name!r} needs the option {option!r}")
    if "background" in inspect.signature(entry.builder).parameters:
        options["background"] = background
    try:
        model = entry.builder(in_shape, num_classes, **options)
    except UsageError as error:
        raise UsageError(f"model {name!r}: {error}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"model {name!r}: its builder returned {model!r}, not an nn.Module")
    return model


def _split(name: str) -> tuple[str, dict[str, Any]]:
    """A registered name and its options; a name that is not text is left to the registry."""
    if not isinstance(name, str) or name in _MODELS:
        return name, {}
    return parse_variant(name)


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise a UsageError if the model of that name does not have these options."""
    entry = _entry(name)
    for option, value in options.items():
        if option not in entry.options and not entry.takes_any:
            raise UsageError(
                f"model {name!r} has no option {option!r}; its options: "
                f"{', '.join(sorted(entry.options)) or 'none'}"
            )
        if isinstance(entry.options.get(option), bool) and not isinstance(value, bool):
            raise UsageError(f"model {name!r}: {option} is true or false, not {value!r}")


def _same(value: Any, default: Any) -> bool:
    """Whether an option of a name has its default; 1 is not True."""
    value, default = plain_value(value), plain_value(default)
    return type(value) is type(default) and bool(value == default)
