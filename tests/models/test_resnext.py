"""ResNeXt for photographs: torchvision's network, weights from a file, a transformer before it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stn_core.errors import UsageError
from stn_core.models import create_model, model_info

SMALL = (1, 1, 1, 1)


def test_parameters_are_those_of_torchvisions_resnext50() -> None:
    from torchvision.models import resnext50_32x4d

    expected = sum(p.numel() for p in resnext50_32x4d(num_classes=200).parameters())
    model = create_model("resnext", (3, 112, 112), num_classes=200)
    assert sum(p.numel() for p in model.parameters()) == expected == 23_389_704


@pytest.mark.parametrize("name", ["resnext", "resnext_stn"])
def test_all_but_the_head_comes_from_a_file(name: str, tmp_path: Path) -> None:
    donor = create_model("resnext", (3, 32, 32), num_classes=1000, blocks=SMALL)
    path = tmp_path / "resnext.pth"
    torch.save(donor.state_dict(), path)
    model = create_model(name, (3, 40, 32), num_classes=7, weights=path, blocks=SMALL)
    network = model if name == "resnext" else model.get_submodule("classifier")
    for key, value in donor.state_dict().items():
        if not key.startswith("fc."):
            assert torch.equal(network.state_dict()[key], value), key
    assert network.state_dict()["fc.weight"].shape == (7, 2048)


def test_weights_that_do_not_fit_are_one_line_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(UsageError, match=r"weights: there is no file .*weights\.pth"):
        create_model("resnext", (3, 32, 32), 7, weights=path, blocks=SMALL)
    for content in (b"", b"no weights", b"\x80\x02}q\x00(X\x01"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"weights\.pth does not hold this network's weights"):
            create_model("resnext", (3, 32, 32), 7, weights=path, blocks=SMALL)
    for found in ([1, 2], {"conv1.weight": 3}, {1: torch.zeros(2)}):
        torch.save(found, path)
        with pytest.raises(UsageError, match=r"weights\.pth does not hold this network's weights"):
            create_model("resnext", (3, 32, 32), 7, weights=path, blocks=SMALL)
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    with pytest.raises(UsageError, match=r"weights\.pth .*\(not bn1\.weight\)"):
        create_model("resnext", (3, 32, 32), 7, weights=path, blocks=SMALL)
    donor = create_model("resnext", (3, 32, 32), num_classes=7, blocks=SMALL)
    torch.save(donor.state_dict(), path)
    with pytest.raises(UsageError, match=r"weights\.pth .*size mismatch"):
        create_model("resnext", (1, 32, 32), 7, weights=path, blocks=SMALL)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": Path("anything")}, path)
    with pytest.raises(UsageError, match=r"weights\.pth does not hold this network's weights"):
        create_model("resnext", (3, 32, 32), 7, weights=path, blocks=SMALL)


@pytest.mark.parametrize("blocks", [(3, 4, 6), (3, 4, 6, 0), (1.5, 1, 1, 1), 3])
def test_a_stage_without_blocks_is_refused(blocks: object) -> None:
    with pytest.raises(UsageError, match="blocks are four whole numbers of 1 or more"):
        create_model("resnext", (3, 32, 32), 7, blocks=blocks)


def test_the_localisation_network_looks_at_a_small_picture() -> None:
    def parameters(side: int) -> int:
        model = create_model("resnext_stn", (3, side, side), 7, blocks=SMALL)
        return sum(p.numel() for p in model.get_submodule("transformer").parameters())

    assert parameters(56) == parameters(112) == parameters(224)


@pytest.mark.parametrize("channels", [1, 4])
def test_the_first_convolution_starts_alike_whatever_the_channels(channels: int) -> None:
    torch.manual_seed(0)
    three, other = (
        create_model("resnext", (count, 32, 32), 7, blocks=SMALL).get_parameter("conv1.weight")
        for count in (3, channels)
    )
    # By fan-out, which the channels of an image have no part in; of 3,136 numbers at least.
    torch.testing.assert_close(other.std(), three.std(), rtol=0.06, atol=0)


def test_photographs_have_it_and_digits_do_not() -> None:
    for name in ("resnext", "resnext_stn"):
        suited = [
            d for d in ("birds", "birds_224", "cifar10", "mnist") if model_info(name).suits(d)
        ]
        assert suited == ["birds", "birds_224", "cifar10"]
