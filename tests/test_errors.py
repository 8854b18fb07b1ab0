"""Text that is safe to print, and messages of one line."""

import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stn_core.errors import MOST_CHARACTERS, UsageError, one_line, printable, unknown_name

SURROGATE = "\udcff"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("fake.png: 7\nall PASS", "fake.png: 7\\nall PASS"),
        ("\x1b[2J\r", "\\x1b[2J\\r"),
        ("a\u2028b\u202ec", "a\\u2028b\\u202ec"),
        (f"half {SURROGATE}", "half \\udcff"),
        ("cnn\u200b c\u200enn \ufeffcnn \u061ccnn", "cnn\\u200b c\\u200enn \\ufeffcnn \\u061ccnn"),
        ("c\xadnn c\u2060nn cnn\U000e0041", "c\\xadnn c\\u2060nn cnn\\U000e0041"),
        ("Ä ✓ \u200c 画像 \\n", "Ä ✓ \u200c 画像 \\n"),
    ],
)
def test_control_and_invisible_characters_are_escaped_and_no_others(text, printed):
    assert printable(text) == printed


@given(st.text(st.characters()))
def test_any_text_becomes_one_line_that_can_be_written(text):
    printed = printable(text)
    assert printable(printed) == printed
    assert len(printed.splitlines()) <= 1
    assert not any(unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs") for letter in printed)
    printed.encode("utf-8")


def test_an_error_is_one_line_however_long_and_odd_its_message_is():
    error = UsageError("begin \n" + SURROGATE + "x" * 10_000 + " the end")
    assert len(str(error)) == MOST_CHARACTERS
    assert str(error).startswith("begin \\n\\udcffxxx")
    assert str(error).endswith("xxx the end")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_text_that_is_short_enough_stays_whole():
    assert one_line("x" * 12, 12) == "x" * 12
    assert one_line("0123456789abc", 12) == "0123456…9abc"


def test_a_name_that_is_known_twice_is_shown_once():
    said = str(unknown_name("model", "nothing_like_it", ["acme_net", "cnn", "acme_net"]))
    assert said.endswith("known: acme_net, cnn")
