"""Other libraries' models: made for any images and classes, named like any other."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torch.nn.functional as F
import torchvision.models
from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.models import create_model, is_registered, libraries, model_info, model_name
from stn_core.models.saved_models import load_model, save_model
from tests.configurations import configuration_of

SMALL = (
    "timm:test_resnet",
    "timm:test_vit[patch_size=7]",
    "torchvision:mobilenet_v3_small",
    "torchvision:squeezenet1_1",
)
GREY = (1, 28, 35)


@pytest.mark.parametrize("shape", [GREY, (3, 35, 28), (4, 42, 35)], ids=str)
@pytest.mark.parametrize("name", SMALL)
def test_it_is_made_for_the_images_and_classes(name: str, shape: tuple[int, int, int]) -> None:
    model = create_model(name, shape, 7)
    assert model.eval()(torch.randn(2, *shape)).shape == (2, 7)
    assert not any(p.numel() for n, p in model.named_parameters() if 1000 in p.shape)


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_learns(name: str) -> None:
    model = create_model(name, GREY, 7)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for _ in range(2):  # a layer scale of zero blocks the first gradient behind it
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(8, *GREY)), torch.arange(8) % 7).backward()
        optimizer.step()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


def test_a_grey_model_sees_a_grey_image_as_the_coloured_one_sees_it() -> None:
    torch.manual_seed(3)
    coloured = torchvision.models.mobilenet_v3_small(num_classes=7).eval()
    torch.manual_seed(3)
    grey = create_model("torchvision:mobilenet_v3_small", GREY, 7).eval()
    images = torch.randn(4, *GREY)
    torch.testing.assert_close(grey(images), coloured(images.expand(-1, 3, -1, -1)))


def test_kernels_of_other_channels_answer_equal_channels_alike() -> None:
    kernels, image = torch.randn(5, 3, 3, 3), torch.randn(1, 1, 9, 8)
    for channels in (1, 3, 6):
        made = libraries.first_kernels(kernels, channels)
        assert made.shape == (5, channels, 3, 3)
        expected = F.conv2d(image.expand(-1, 3, -1, -1), kernels)
        torch.testing.assert_close(F.conv2d(image.expand(-1, channels, -1, -1), made), expected)


def test_options_are_the_librarys_and_part_of_the_name() -> None:
    assert model_name("timm:test_resnet[ drop_rate=0.10 ]") == "timm:test_resnet[drop_rate=0.1]"
    assert model_name("timm:test_resnet[pretrained=false]") == "timm:test_resnet"
    model = create_model("timm:test_resnet[drop_rate=0.1]", GREY, 7)
    assert model.drop_rate == 0.1
    vit = create_model("timm:test_vit[patch_size=7]", GREY, 7)
    assert vit.patch_embed.img_size == GREY[1:]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:resnet19", "unknown timm model 'resnet19'; did you mean resnet18"),
        ("torchvision:resnet19", "unknown torchvision model 'resnet19'; did you mean resnet18"),
        ("torchvision:fcn_resnet50", "unknown torchvision model"),
        ("timn:resnet18", "unknown model 'timn:resnet18'; did you mean timm:resnet18"),
        ("Torchvision:resnet18", "did you mean torchvision:resnet18"),
        ("timm:test_resnet[num_classes=3]", "no option 'num_classes': the dataset decides it"),
        ("torchvision:resnet18[weights=DEFAULT]", "'weights': write pretrained=true"),
        ("timm:test_resnet[checkpoint_path=x]", "cannot be made for images of .*FileNotFound"),
        ("timm:deit_tiny_patch16_224", "patches of 16x16 do not divide images of 28x35"),
        ("timm:test_resnet[wide=2]", "cannot be made for images of .*unexpected keyword.*wide"),
        ("timm:test_vit[patch_size=0]", r"images of \(1, 28, 35\): .*zero"),
        ("torchvision:alexnet", "does not take images of .*too small"),
        ("torchvision:vit_b_16", "takes square images, not 28x35"),
    ],
)
def test_a_model_that_cannot_be_built_is_a_one_line_error(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        create_model(name, GREY, 7)
    assert "\n" not in str(caught.value)


def test_without_the_library_the_extra_is_named_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    for use in (model_name, lambda name: create_model(name, GREY, 7)):
        with pytest.raises(
            UsageError, match=r"timm is not installed: pip install 'stn-core\[timm\]"
        ):
            use("timm:test_resnet")
    assert model_info("timm:test_resnet").family == "timm"  # a baseline is not missed
    assert is_registered("timm:test_resnet[drop_rate=0.1]")
    assert not is_registered("test_resnet")


@pytest.mark.parametrize("name", [*SMALL, "torchvision:mnasnet0_5"])
def test_a_saved_model_is_the_same_again(name: str, tmp_path: Path) -> None:
    model = create_model(name, GREY, 7).eval()
    save_model(tmp_path / "a.safetensors", model, configuration_of(name, GREY, 7))
    images = torch.randn(2, *GREY)
    assert torch.equal(load_model(tmp_path / "a.safetensors")(images), model(images))


# Pretrained weights


def test_torchvisions_weights_are_read_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    name = "torchvision:mobilenet_v3_small[pretrained=true]"
    with pytest.raises(UsageError, match="is not there; nothing is fetched here"):
        create_model(name, GREY, 7)
    theirs = torchvision.models.mobilenet_v3_small()
    weights = torchvision.models.MobileNet_V3_Small_Weights.DEFAULT
    (tmp_path / "checkpoints").mkdir()
    torch.save(theirs.state_dict(), tmp_path / "checkpoints" / Path(weights.url).name)
    model = create_model(name, GREY, 7)
    (tmp_path / "checkpoints" / Path(weights.url).name).write_bytes(b"torn")
    with pytest.raises(UsageError, match=r"\.pth does not hold this network's weights"):
        create_model(name, GREY, 7)
    state = theirs.state_dict()
    first = "features.0.0.weight"
    torch.testing.assert_close(model.state_dict()[first], state[first].sum(1, keepdim=True))
    for key, value in model.state_dict().items():
        if key != first and not key.startswith("classifier.3"):
            assert torch.equal(value, state[key]), key
    # A saved model has weights of its own, wherever it is read.
    save_model(tmp_path / "a.safetensors", model, configuration_of(name, GREY, 7))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "elsewhere"))
    images = torch.randn(2, *GREY)
    again = load_model(tmp_path / "a.safetensors")
    assert torch.equal(again(images), model.eval()(images))


def in_old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As torchvision's files of DenseNets spell them: denselayer1.norm.1.weight."""
    return {re.sub(r"(denselayer\d+\.\w+)(\d)\.", r"\1.\2.", k): v for k, v in state.items()}


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("densenet121", in_old_names),
        ("googlenet", dict),  # its file holds what gives extra logits in training
        ("mnasnet0_5", dict),  # asks for the version of the module whose weights it loads
    ],
)
def test_weights_that_torchvision_loads_in_a_way_of_its_own_are_read(
    name: str,
    spelt: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    quick = {"init_weights": False} if name == "googlenet" else {}
    theirs = torchvision.models.get_model(name, weights=None, **quick).state_dict()
    weights = torchvision.models.get_model_weights(name).DEFAULT
    path = tmp_path / "checkpoints" / Path(weights.url).name
    path.parent.mkdir()
    torch.save(spelt(theirs), path)
    chosen = f"torchvision:{name}[{'init_weights=false,' if quick else ''}pretrained=true]"
    state = create_model(chosen, (3, 64, 64), 7).state_dict()
    head = ("fc.", "classifier.")
    for key, value in state.items():
        if not (key.startswith(head) and value.shape[:1] == (7,)):
            assert torch.equal(value, theirs[key]), key
    torch.save({**theirs, "stranger": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match=r"does not hold this network's weights \(not stranger\)"):
        create_model(chosen, (3, 64, 64), 7)


def torchvision_file(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision would keep a model's weights, in a folder of its own."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder))
    url = torchvision.models.get_model_weights(name).DEFAULT.url
    path = folder / "checkpoints" / Path(url).name
    path.parent.mkdir()
    return path


def test_weights_that_fit_only_in_part_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = torchvision_file("mobilenet_v3_small", tmp_path, monkeypatch)
    theirs = torchvision.models.mobilenet_v3_small().state_dict()
    torch.save(theirs, path)
    said = r"\.pth does not hold this network's weights \({}"
    narrow = "torchvision:mobilenet_v3_small[pretrained=true,width_mult=0.5]"
    with pytest.raises(
        UsageError, match=said.format(r"features\.0.* \(16, .* there, \(8, .* here")
    ):
        create_model(narrow, GREY, 7)
    gone = "features.3.block.0.0.weight"
    torch.save({name: value for name, value in theirs.items() if name != gone}, path)
    with pytest.raises(UsageError, match=said.format(re.escape(f"{gone} is missing"))):
        create_model("torchvision:mobilenet_v3_small[pretrained=true]", GREY, 7)


def test_weights_without_the_counters_of_batches_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = torchvision_file("mobilenet_v3_small", tmp_path, monkeypatch)
    theirs = torchvision.models.mobilenet_v3_small().state_dict()
    torch.save({n: v for n, v in theirs.items() if not n.endswith("num_batches_tracked")}, path)
    model = create_model("torchvision:mobilenet_v3_small[pretrained=true]", (3, 28, 35), 7)
    last = "features.12.0.weight"
    assert torch.equal(model.state_dict()[last], theirs[last])


def test_a_vits_position_embeddings_are_interpolated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = torchvision_file("vit_b_32", tmp_path, monkeypatch)
    small = {"num_layers": 1, "num_heads": 2, "hidden_dim": 6, "mlp_dim": 8}

    def tiny(weights: None, **options: int) -> nn.Module:
        return torchvision.models.VisionTransformer(patch_size=32, **{**small, **options})

    monkeypatch.setattr(torchvision.models, "get_model", lambda _name, **options: tiny(**options))
    # As a function of the place that is linear: interpolation with aligned corners keeps it so.
    rows, columns = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    theirs = tiny(None, image_size=224).state_dict()
    positions = theirs["encoder.pos_embedding"] = torch.zeros(1, 50, 6)
    positions[0, 0], positions[0, 1:, 0], positions[0, 1:, 1] = 9, rows.ravel(), columns.ravel()
    torch.save(theirs, path)
    state = create_model("torchvision:vit_b_32[pretrained=true]", (3, 128, 128), 7).state_dict()
    found = state["encoder.pos_embedding"]
    assert found.shape == (1, 17, 6)
    assert torch.equal(found[0, 0], positions[0, 0])
    rows, columns = torch.meshgrid(*[torch.linspace(0, 6, 4)] * 2, indexing="ij")
    # Cubic interpolation at the edge repeats the edge's values, which bends the line a little.
    torch.testing.assert_close(found[0, 1:, 0], rows.ravel(), atol=0.3, rtol=0)
    torch.testing.assert_close(found[0, 1:, 1], columns.ravel(), atol=0.3, rtol=0)
    for key, value in state.items():
        if not key.startswith("heads.") and key != "encoder.pos_embedding":
            assert torch.equal(value, theirs[key]), key


@pytest.mark.parametrize(
    "name", ["squeezenet1_1", "maxvit_t", "swin_t", "googlenet", "inception_v3", "densenet121"]
)
def test_the_classifier_is_what_the_number_of_classes_decides(name: str) -> None:
    options = {"input_size": (224, 224)} if name.startswith("maxvit") else {}
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": False}
    with torch.device("meta"):
        few, many = (
            torchvision.models.get_model(name, weights=None, num_classes=k, **options)
            for k in (7, 9)
        )
    others = many.state_dict()
    changed = {key for key, value in few.state_dict().items() if value.shape != others[key].shape}
    assert changed
    assert {key.rpartition(".")[0] for key in changed} == {libraries._last_layer(few)}


def test_timms_weights_are_read_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    name, path = "timm:test_resnet[pretrained=true]", tmp_path / "model.safetensors"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(UsageError, match=r"timm/test_resnet.* is not at hand; nothing is fetched"):
        create_model(name, (3, 32, 32), 7)
    theirs: nn.Module = timm.create_model("test_resnet")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(path))
    path.write_bytes(b"torn")
    with pytest.raises(UsageError, match=r"cannot be made for images of .*deserializing header"):
        create_model(name, (3, 32, 32), 7)
    safetensors.torch.save_model(theirs, str(path))
    model = create_model(name, (3, 32, 32), 7)
    state = theirs.state_dict()
    assert all(
        torch.equal(value, state[key])
        for key, value in model.state_dict().items()
        if not key.startswith("fc.")
    )
