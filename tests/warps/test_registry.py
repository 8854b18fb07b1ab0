"""create_warp and list_warps: names, options, and what they say of a wrong one."""

from __future__ import annotations

import pytest

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
