"""create_warp and list_warps: names, options, and what they say of a wrong one."""

from __future__ import annotations

import math
import textwrap

import numpy as np
import pytest
import torch

from stn_core.errors import UsageError
from stn_core.geometry import warps
from stn_core.geometry.warps import (
    Translation,
    Warp,
    create_warp,
    list_warps,
    register_warp,
    warp_for,
)
from stn_core.geometry.warps.affine import MatrixWarp


def test_every_listed_warp_can_be_built_and_knows_its_name():
    assert len(list_warps()) >= 10
    for name in list_warps():
        warp = create_warp(name)
        assert warp.name == name
        assert f"name={name!r}, num_params={warp.num_params}" in repr(warp)


def test_a_warp_for_images_is_the_family_and_what_is_made_stays_as_it_is():
    made = create_warp("rotation", aspect=3.0)
    assert warp_for(made, (4, 5)) is made
    for name in list_warps():
        warp = warp_for(name, (4, 5))
        assert type(warp) is type(create_warp(name))
        assert getattr(warp, "aspect", 1.25) == 1.25
    with pytest.raises(UsageError, match="did you mean rotation"):
        warp_for("rotatoin", (4, 5))


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
def test_a_name_that_resembles_none_is_answered_with_all_names(name):
    with pytest.raises(UsageError, match=r"affine, .*tps"):
        create_warp(name)


def test_theta_of_another_family_is_answered_with_those_it_fits():
    theta = torch.zeros(2, 8)
    with pytest.raises(UsageError, match=r"\(2, 8\), which fits homography or homography_diffeo"):
        create_warp("affine").grid(theta, (3, 5))
    with pytest.raises(UsageError, match=r"must be \(B, 6\); got \(2, 7\)$"):
        create_warp("affine").grid(theta[:, :7], (3, 5))


@pytest.mark.parametrize(
    ("warp", "shape", "message"),
    [
        ("affine", (5, 2, 3), "got (5, 2, 3); to flatten it: theta.reshape(-1, 6)"),
        ("tps", (5, 4, 4, 2), "got (5, 4, 4, 2); to flatten it: theta.reshape(-1, 32)"),
        ("affine", (2, 3), "got (2, 3), which fits attention; to flatten it: theta.reshape(-1, 6)"),
    ],
)
def test_a_matrix_or_a_grid_of_displacements_is_answered_with_how_to_flatten_it(
    warp, shape, message
):
    with pytest.raises(UsageError) as error:
        create_warp(warp).grid(torch.zeros(shape), (3, 5))
    assert str(error.value).endswith(message)


def test_an_unknown_option_is_answered_with_those_there_are():
    with pytest.raises(UsageError, match="'tps' has no option size; its options: n"):
        create_warp("tps", size=4)
    with pytest.raises(UsageError, match="'affine' has no option n; its options: none"):
        create_warp("affine", n=4)


def test_an_option_may_be_keyword_only(monkeypatch):
    class Shift(Translation):
        def __init__(self, *, pixels=1):
            super().__init__()
            self.pixels = pixels

    monkeypatch.setattr(warps, "family_named", lambda name: Shift)
    assert create_warp("shift", pixels=3).pixels == 3
    with pytest.raises(UsageError, match="no option metres; its options: pixels"):
        create_warp("shift", metres=3)


@pytest.mark.parametrize(
    ("name", "option", "bad"),
    [
        ("rotation", "aspect", "a"),
        ("similarity", "aspect", None),
        ("homography", "perspective_scale", "a"),
        ("homography_diffeo", "perspective_scale", math.inf),
        ("tps", "n", "4"),
    ],
)
def test_a_value_that_is_not_a_number_is_a_one_line_error(name, option, bad):
    with pytest.raises(UsageError, match=rf"{option}.* must be .*; got {bad!r}$"):
        create_warp(name, **{option: bad})


def test_numpys_numbers_are_numbers():
    assert create_warp("tps", n=np.int64(3)).num_params == 18
    assert create_warp("rotation", aspect=np.float32(1.5)).aspect == 1.5
    assert create_warp("homography", perspective_scale=np.int64(1)).perspective_scale == 1.0


def test_a_value_that_is_not_a_tensor_is_a_one_line_error():
    warp, xy = create_warp("affine"), torch.zeros(4, 2)
    with pytest.raises(UsageError, match="theta of the warp 'affine' must be a tensor; got a list"):
        warp.points([1, 0, 0, 0, 1, 0], xy)
    with pytest.raises(UsageError, match="points must be a tensor; got a list"):
        warp.points(warp.identity(), xy.tolist())


@pytest.mark.parametrize("name", ["translation", "similarity", "affine", "homography"])
def test_thetas_of_different_batches_are_not_composed(name):
    warp = create_warp(name)
    theta = warp.identity().expand(5, -1)
    with pytest.raises(
        UsageError, match=r"theta_a and theta_b must have the same batch size; got \(3, "
    ):
        warp.compose(theta[:3], theta)
    for one in (theta[:1], theta[0]):  # serves all
        assert torch.equal(warp.compose(one, theta), theta)


def test_a_name_is_registered_once():
    class Impostor(Warp):
        name = "affine"

    with pytest.raises(UsageError, match="the warp 'affine' is registered already"):
        register_warp(Impostor)


@pytest.mark.parametrize(
    ("closed", "method", "missing"),
    [
        (True, "inverse", "_inverse"),
        (True, "inverse_points", "_inverse"),
        (False, "inverse_points", "_inverse_points"),
    ],
)
def test_a_family_without_an_inverse_says_what_it_has_to_define(closed, method, missing):
    class Shear(MatrixWarp):
        name = "shear"
        num_params = 1
        closed_under_inversion = closed

    arguments = (torch.zeros(1, 1), torch.zeros(3, 2))[: 2 if method == "inverse_points" else 1]
    with pytest.raises(NotImplementedError, match=f"'shear' does not define {missing}$"):
        getattr(Shear(), method)(*arguments)


def test_the_family_that_the_documentation_makes_has_an_inverse_and_follows_its_theta():
    _, _, rest = register_warp.__doc__.partition("::\n")
    names = {"register_warp": lambda family: family, "MatrixWarp": MatrixWarp, "torch": torch}
    exec(textwrap.dedent(rest.partition(">>>")[0]), names)
    warp = names["Shear"]()
    theta, xy = torch.tensor([[0.5], [-2.0]], dtype=torch.float64), torch.rand(5, 2).double()
    moved = warp.points(theta, xy)
    assert torch.equal(moved[0, :, 0], xy[:, 0] + xy[:, 1] / 2)
    torch.testing.assert_close(warp.inverse_points(theta, moved), xy.expand(2, -1, -1))
    assert warp.grid(theta.to("meta"), (3, 5)).is_meta
