"""A JSON file that is not what it should be is refused in one line that says what and where."""

import dataclasses
import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stn_core.errors import UsageError
from stn_core.schema import Count, NotJsonError, Number, checked, parse_json, read_versioned


@dataclass(frozen=True)
class Part:
    name: str
    size: Count = 0


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    weights: dict[str, Number] = field(default_factory=dict)


WHOLE = {"parts": [{"name": "a", "size": 3}, {"name": "b"}], "weights": {"a": 1}}


def test_fitting_values_become_the_dataclass():
    assert checked(Whole, WHOLE, "") == Whole((Part("a", 3), Part("b")), {"a": 1.0})


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ([], "expected an object, not []"),
        ({}, "parts is missing"),
        ({"parts": 3}, "parts must be a list, not 3"),
        ({"parts": [{}]}, "parts[0].name is missing"),
        ({"parts": [], "colour": 1}, "'colour' is not a field"),
        ({"parts": [{"name": "a", "colour": 1}]}, "'parts.colour' is not a field"),
        ({"parts": [{"name": None}]}, "parts[0].name must be text, not None"),
        ({"parts": [{"name": "a", "size": True}]}, "parts[0].size must be a whole number, not Tru"),
        ({"parts": [{"name": "a", "size": -1}]}, "parts[0].size must be 0 or more, not -1"),
        ({"parts": [], "weights": {"a": float("inf")}}, "weights must be a finite number"),
        ({"parts": [{"name": "a", "size": 10**5000}]}, "parts[0].size is out of range: a whole"),
    ],
)
def test_fields_that_do_not_fit_are_named(values, complaint):
    with pytest.raises(UsageError) as caught:
        checked(Whole, values, "file.json: ")
    assert str(caught.value).startswith(f"file.json: {complaint}")
    assert len(str(caught.value)) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(st.characters(codec="ascii")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=9,
)


@given(JSON)
def test_any_json_is_read_or_refused_and_never_ends_in_a_traceback(values):
    assert parse_json(json.dumps(values), "", is_text=False) == values
    try:
        whole = checked(Whole, values, "")
    except UsageError:
        return
    assert checked(Whole, json.loads(json.dumps(dataclasses.asdict(whole))), "") == whole


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\ufeff{}", "begins with a byte order mark; save it as UTF-8 without one"),
        ("[" * 10_000, "nested too deeply"),
        ('{"a": ' * 10_000, "nested too deeply"),
        ('{"a": 1, "a": 2}', "'a' appears twice"),
        (r'{"a\n": 1, "a\\n": 2}', "two names differ only in unprintable characters"),
        ('{"x": [1, {"b": {"a": 1, "a": 2}}]}', "in x > 2 > b: 'a' appears twice"),
        ('{"n": ' + "9" * 5000 + ', "a": 1, "a": 2}', "'a' appears twice"),
        ("{", "not JSON: line 1, column 2: "),
        ("", "not JSON: line 1, column 1: "),
    ],
)
def test_text_that_is_not_the_expected_json_is_refused(text, complaint):
    with pytest.raises(UsageError) as caught:
        parse_json(text, "file.json: ")
    assert str(caught.value).startswith(f"file.json: {complaint}")
    assert isinstance(caught.value, NotJsonError) is complaint.startswith("not JSON")


def test_text_is_made_printable_where_it_enters_and_paths_stay_as_they_are():
    text = r'{"a\nb": ["\udcff", "\ud83d\ude00"]}'
    assert parse_json(text, "") == {r"a\nb": [r"\udcff", "\U0001f600"]}
    assert parse_json(text, "", is_text=False) == {"a\nb": ["\udcff", "\U0001f600"]}
    assert parse_json('"a\x7f\u2028"', "") == r"a\x7f\u2028"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read {path}: No such file or directory"),
        (b"\xff", "{path}: not UTF-8 text: byte 0"),
        (b"3", "{path} is not a plan: it names no version"),
        (b'{"version": true}', "{path} is not a plan of version 1: its version is True"),
        (b'{"version": 1.0}', "{path} is not a plan of version 1: its version is 1.0"),
    ],
)
def test_a_file_of_another_version_is_refused(tmp_path, content, complaint):
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_versioned(path, 1, "a plan")
    assert str(caught.value) == complaint.format(path=path)
