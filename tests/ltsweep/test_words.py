"""What a message quotes is one bounded line that any terminal prints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltsweep.words import MOST, printable, shown

BOMB = ["x"] * 1000
for _ in range(6):
    BOMB = [BOMB] * 1000  # 10 to the power of 21 values, in a few thousand objects


@pytest.mark.parametrize(
    "value", [10**5000, [10**5000], BOMB, {"a": BOMB}, "x" * 10_000, "\ud800", "\x1b[2J", "a\nb"], ids=range(8)
)
def test_any_value_is_one_short_printable_line(value):
    text = shown(value)
    assert text.isprintable()
    assert 0 < len(text) <= MOST


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a  b\nc", "a b c"),
        (1.5, "1.5"),
        ([1, "a"], "[1, 'a']"),
        (None, "None"),
        ("größer", "größer"),
        ("\x1b[31m", "\\x1b[31m"),
    ],
)
def test_what_is_short_and_printable_stays(value, words):
    assert shown(value) == words


def test_a_cut_is_seen():
    assert shown("x" * 200) == "x" * (MOST - 1) + "…"


@given(st.text())
def test_printable_text_stays_and_the_rest_is_escaped(text):
    found = printable(text)
    assert found.replace("\n", "").isprintable()
    assert found == text or not text.replace("\n", "").isprintable()
    found.encode()
