"""Other libraries' models by name: ``timm:resnet18``, ``torchvision:mobilenet_v3_small``.

They are made for the images' channels and size and for the number of classes, with random weights;
``[pretrained=true]`` takes weights that the library has fetched before, and nothing is fetched
here. A model whose images have other channels than three looks at them as it would look at a
coloured image: the kernels of its first convolution are summed for grey images.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from stn_core.errors import UsageError, needs_extra, unknown_name
from stn_core.models.registry import ImageShape, Library, ModelInfo, register_library
from stn_core.models.weights_loading import load_weights, read_weights

_AUXILIARY = ("googlenet", "inception_v3")
"""torchvision's models that return extra logits in training unless an option forbids it."""

_AUXILIARY_WEIGHTS = ("AuxLogits.", "aux1.", "aux2.")
"""How the names of weights begin that only give these extra logits."""

_NO_WEIGHT = "num_batches_tracked"
"""How the names of counters end that older files lack; nothing depends on them."""

_OLD_DENSE_LAYER = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.(\d\.)")
"""How torchvision's files of DenseNets name what is ``denselayer1.norm1.`` by now."""

_FROM_THE_DATASET = ("in_chans", "img_size", "input_size", "image_size", "num_classes")
"""Arguments that the images and classes decide, so they are not options."""

_NOT_AT_HAND = "nothing is fetched here: fetch it with {library} first, or leave out pretrained"


def _check_timm(name: str) -> None:
    with needs_extra("timm"):
        import timm  # takes seconds to import, so only where it is needed

    if not timm.is_model(name):
        raise unknown_name("timm model", name, timm.list_models())


def _make_timm(
    name: str, in_shape: ImageShape, num_classes: int, pretrained: bool = False, **options: Any
) -> nn.Module:
    with needs_extra("timm"):
        import timm

    channels, height, width = in_shape
    options = {"in_chans": channels, "num_classes": num_classes, **options}
    if pretrained:
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(_timm_file(name))}}
    sized = {"img_size": (height, width), **options}
    try:
        model: nn.Module = timm.create_model(name, **sized)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        model = timm.create_model(name, **options)  # one that takes any size
    return model


def _timm_file(name: str) -> Path:
    """The weights that timm would fetch, from where it keeps them."""
    with needs_extra("timm"):
        import huggingface_hub
        import timm.models

    settings = timm.models.get_pretrained_cfg(name)
    place = settings.hf_hub_id if settings else None
    if not place:
        raise UsageError("timm has no pretrained weights of it; leave out pretrained")
    found = huggingface_hub.try_to_load_from_cache(place, "model.safetensors")
    if not isinstance(found, str):
        raise UsageError(f"{place} is not at hand; {_NOT_AT_HAND.format(library='timm')}")
    return Path(found)


def _torchvision_names() -> list[str]:
    with needs_extra("data"):
        import torchvision.models  # takes seconds to import, so only where it is needed

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _check_torchvision(name: str) -> None:
    if name not in _torchvision_names():
        raise unknown_name("torchvision model", name, _torchvision_names())


def _make_torchvision(
    name: str, in_shape: ImageShape, num_classes: int, pretrained: bool = False, **options: Any
) -> nn.Module:
    with needs_extra("data"):
        import torchvision.models

    channels, height, width = in_shape
    if name in _AUXILIARY:
        options = {"aux_logits": False, "init_weights": True, **options}
    if name.startswith("vit_"):
        if height != width:
            raise UsageError(f"it takes square images, not {height}x{width}")
        options = {"image_size": height, **options}
    if name.startswith("maxvit"):
        options = {"input_size": (height, width), **options}
    model: nn.Module = torchvision.models.get_model(
        name, weights=None, num_classes=num_classes, **options
    )
    if pretrained:
        _load_all_but_the_classifier(model, _torchvision_file(name))
    if channels != 3:
        _look_at(model, channels)
    return model


def _torchvision_file(name: str) -> Path:
    """The weights that torchvision would fetch, from where it keeps them."""
    with needs_extra("data"):
        import torchvision.models

    weights = torchvision.models.get_model_weights(name).DEFAULT
    path = Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(urlparse(weights.url).path).name)
    if not path.is_file():
        raise UsageError(f"{path} is not there; {_NOT_AT_HAND.format(library='torchvision')}")
    return path


def _load_all_but_the_classifier(model: nn.Module, path: Path) -> None:
    """Load weights, except the last layer's if it has another number of classes.

    A ViT for images of another size gets the position embeddings resized, as torchvision does it.
    """
    loaded = read_weights(path)
    found = {_OLD_DENSE_LAYER.sub(r"\1\2", name): value for name, value in loaded.items()}
    own = model.state_dict()
    unknown = [n for n in found if n not in own and not n.startswith(_AUXILIARY_WEIGHTS)]
    if unknown:
        raise UsageError(f"{path} does not hold this network's weights (not {unknown[0]})")
    missing = [n for n in own if n not in found and not n.endswith(_NO_WEIGHT)]
    if missing:
        raise UsageError(f"{path} does not hold this network's weights ({missing[0]} is missing)")
    _resize_position_embeddings(model, found)
    taken = {name: value for name, value in found.items() if name in own}
    others = [name for name, value in taken.items() if value.shape != own[name].shape]
    classifier = f"{_last_layer(model)}."
    wrong = [name for name in others if not name.startswith(classifier)]
    if wrong:
        there, here = (tuple(each[wrong[0]].shape) for each in (taken, own))
        reason = f"{wrong[0]} is {there} there, {here} here"
        raise UsageError(f"{path} does not hold this network's weights ({reason})")
    load_weights(model, {**own, **{n: v for n, v in taken.items() if n not in others}})


def _resize_position_embeddings(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Interpolate a ViT's position embeddings for the number of patches of its images."""
    with needs_extra("data"):
        from torchvision.models import vision_transformer

    if isinstance(model, vision_transformer.VisionTransformer):
        vision_transformer.interpolate_embeddings(model.image_size, model.patch_size, weights)


def _last_layer(model: nn.Module) -> str:
    """The name of the classifier: in all of torchvision's models the last layer with weights."""
    layers = (nn.Linear, nn.Conv2d)
    names: list[str] = [n for n, module in model.named_modules() if isinstance(module, layers)]
    return names[-1]


def _look_at(model: nn.Module, channels: int) -> None:
    """Have the first convolution take images of other channels, as `first_kernels` says."""
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    first.in_channels = channels
    first.weight = nn.Parameter(first_kernels(first.weight.detach(), channels))


def first_kernels(kernels: Tensor, channels: int) -> Tensor:
    """Kernels for coloured images, for images of other channels.

    Args:
        kernels: ``(out, 3, h, w)``.
        channels: of the images. Of one, the result sees a grey image as the kernels see it in three
            equal channels; of others, each channel has one of the kernels, scaled by 3 / channels.

    Returns:
        ``(out, channels, h, w)``.
    """
    if channels == 1:
        return kernels.sum(1, keepdim=True)
    repeated = kernels.repeat(1, -(-channels // 3), 1, 1)[:, :channels]
    return repeated * (3 / channels)


def _checked(make: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """What a library says of options and images that a model does not take, as one line."""

    @functools.wraps(make)
    def build(name: str, in_shape: ImageShape, num_classes: int, /, **options: Any) -> nn.Module:
        for option in set(options) & {*_FROM_THE_DATASET, "weights"}:
            instead = "write pretrained=true" if option == "weights" else "the dataset decides it"
            raise UsageError(f"it has no option {option!r}: {instead}")
        try:
            model = make(name, in_shape, num_classes, **options)
        except UsageError:
            raise
        except Exception as error:  # an option or a damaged file: each model has its own errors
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise UsageError(f"it cannot be made for images of {in_shape}: {reason}") from error
        _check_takes(model, in_shape)
        return model

    return build


def _check_takes(model: nn.Module, in_shape: ImageShape) -> None:
    """See that a model takes such images: on torch's meta device, which computes nothing."""
    _check_patches(model, in_shape)
    try:
        with torch.no_grad():
            copy.deepcopy(model).to("meta").eval()(torch.empty(2, *in_shape, device="meta"))
    except NotImplementedError:  # torch's, for operations without a meta kernel
        return  # the images cannot be checked here; the first batch shows what is wrong
    except Exception as error:  # as above, when it is built
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UsageError(f"it does not take images of {in_shape}: {reason}") from error


def _check_patches(model: nn.Module, in_shape: ImageShape) -> None:
    """Refuse patches that would leave a margin of the images unseen; timm accepts them."""
    _, height, width = in_shape
    for module in model.modules():
        patch, is_padded = (
            getattr(module, each, None) for each in ("patch_size", "dynamic_img_pad")
        )
        if (
            is_padded is False
            and isinstance(patch, tuple)
            and (height % patch[0] or width % patch[1])
        ):
            raise UsageError(
                f"its patches of {patch[0]}x{patch[1]} do not divide images of {height}x{width};"
                " set patch_size to a divisor of both"
            )


register_library(
    "timm",
    Library(
        ModelInfo(family="timm", source="timm, Wightman 2019, doi 10.5281/zenodo.4414861"),
        _check_timm,
        _checked(_make_timm),
    ),
)
register_library(
    "torchvision",
    Library(
        ModelInfo(family="torchvision", source="torchvision, arXiv 1912.01703"),
        _check_torchvision,
        _checked(_make_torchvision),
    ),
)
