"""Different things never share a file, and names that can stay stay as they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stn_core.session.file_names import MOST_BYTES, file_stem, safe_stem

NAMES = st.lists(st.text(st.characters(), min_size=1), min_size=3, max_size=3).map(tuple)
DASHED = st.lists(st.text("ab-", min_size=1, max_size=3), min_size=3, max_size=3).map(tuple)


@pytest.mark.parametrize(
    "parts",
    [
        ("digits", "stn", "0"),
        ("mnist_rts", "stn[warp=tps,sampler=linearized]", "12"),
        ("x" * 150, "ä", "3"),
    ],
)
def test_a_plain_name_is_its_parts_joined(parts):
    assert file_stem(*parts) == "-".join(parts)


def test_a_dash_within_a_name_differs_from_the_one_that_joins_names():
    names = {file_stem("plain", "a-net", "0"), file_stem("plain-a", "net", "0")}
    assert len(names) == 2
    assert all(name.startswith("plain-a-net-0-") for name in names)


@given(DASHED, DASHED)
def test_different_parts_have_different_names(one, other):
    assert (file_stem(*one) == file_stem(*other)) is (one == other)


@given(NAMES)
def test_any_parts_make_a_name_that_a_file_can_have(tmp_path_factory, parts):
    for name in (file_stem(*parts), safe_stem(parts[0])):
        assert "/" not in name
        assert len(f"{name}.safetensors.{'0' * 32}.tmp".encode()) <= 255
        path = tmp_path_factory.getbasetemp() / f"{name}.npz"
        path.touch()
        path.unlink()


@given(st.text("x", min_size=MOST_BYTES, max_size=400), st.text("x", min_size=MOST_BYTES))
def test_long_names_that_differ_at_their_end_do_not_meet(one, other):
    assert (safe_stem(one) == safe_stem(other)) is (one == other)
