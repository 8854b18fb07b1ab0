"""create_warp and list_warps: names, options, and what they say of a wrong one."""

from __future__ import annotations

import pytest
import torch

from stn_core.errors import UsageError
from stn_core.warps import Warp, create_warp, list_warps, register_warp


def test_every_listed_warp_can_be_built_and_knows_its_name():
    assert len(list_warps()) >= 10
    for name in list_warps():
        warp = create_warp(name)
        assert warp.name == name
        assert f"name={name!r}, num_params={warp.num_params}" in repr(warp)


def test_names_are_listed_by_pattern_and_sorted():
    assert list_warps("*_diffeo") == ["affine_diffeo", "homography_diffeo"]
    assert list_warps() == sorted(list_warps())


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="unknown warp 'homografy'; did you mean homography"):
        create_warp("homografy")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("thin_plate_spline", "tps"),
        ("ThinPlateSpline", "tps"),
        ("thin-plate", "tps"),
        ("cpa", "cpab"),
        ("CPAB", "cpab"),
        ("affine diffeo", "affine_diffeo"),
        ("Rotations", "rotation"),
    ],
)
def test_the_nearest_is_found_by_what_a_family_is_called_elsewhere(name, meant):
    with pytest.raises(UsageError, match=rf"did you mean {meant}\b"):
        create_warp(name)


@pytest.mark.parametrize("name", ["xyzzy", None])
def test_what_is_near_nothing_is_answered_with_all_there_are(name):
    with pytest.raises(UsageError, match=r"affine, .*tps"):
        create_warp(name)


def test_theta_of_another_family_is_answered_with_those_it_fits():
    theta = torch.zeros(2, 8)
    with pytest.raises(UsageError, match=r"\(2, 8\), which fits homography or homography_diffeo"):
        create_warp("affine").grid(theta, (3, 5))
    with pytest.raises(UsageError, match=r"must be \(B, 6\); got \(2, 7\)$"):
        create_warp("affine").grid(theta[:, :7], (3, 5))


def test_an_unknown_option_is_answered_with_those_there_are():
    with pytest.raises(UsageError, match="'tps' has no option size; its options: n"):
        create_warp("tps", size=4)
    with pytest.raises(UsageError, match="'affine' has no option n; its options: none"):
        create_warp("affine", n=4)


def test_a_name_is_registered_once():
    class Impostor(Warp):
        name = "affine"

    with pytest.raises(UsageError, match="the warp 'affine' is registered already"):
        register_warp(Impostor)
