"""Names in a list, and tables of named things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stn_core.errors import UsageError
from stn_core.registry import Registry, fits, split_names

names = st.text("abc_*", min_size=1)
variants = st.builds(
    lambda name, options: f"{name}[{','.join(f'{o}=(1,{o})' for o in options)}]",
    names,
    st.lists(names),
)


@given(st.lists(names | variants), st.sampled_from([",", " , ", ",,"]))
def test_splitting_joined_names_gives_the_names(listed: list[str], comma: str) -> None:
    assert split_names(comma.join(listed)) == listed


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("stn[warp=tps]", "stn[warp=tps]"),
        ("digits/stn[channels=(10,20),warp=tps]", "*/stn[channels=(10,20),warp=*]"),
        ("stn[warp=tps]", "stn*"),
        ("stn_tps", "stn_[ct]*"),
    ],
)
def test_a_pattern_fits_variants_and_sets_of_letters(name: str, pattern: str) -> None:
    assert fits(name, pattern)
    assert not fits("digits/stnw", pattern)


@pytest.mark.parametrize("text", ["stn[warp=tps", "stn]", "stn[channels=(10]20)", "cnn,stn[a=(1]"])
def test_brackets_that_do_not_match_are_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"the brackets in .* do not match"):
        split_names(text)


def test_a_name_is_taken_once() -> None:
    registry: Registry[int] = Registry("warp")
    registry.add("affine", 1)
    with pytest.raises(UsageError, match="'affine' is registered already"):
        registry.add("affine", 2)
    with pytest.raises(UsageError, match="unknown warp 'afine'; did you mean affine"):
        registry["afine"]
    assert registry["affine"] == 1
    assert registry.names("a*") == ["affine"]
