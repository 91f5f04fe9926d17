"""Text of a record is text: not rich's markup, not an emoji's name, not a terminal's code."""

import contextlib
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ltsweep.cluster import standings
from ltsweep.cluster.follow import ClusterDisplay
from ltsweep.cluster.watch import Standing
from ltsweep.grid.cell import Cell
from ltsweep.show.events import News
from ltsweep.show.labels import varying
from ltsweep.show.page import page
from ltsweep.show.table import LiveTable, closing_table
from ltsweep.words import printable, shown

NASTY = (
    "[/x]", "[red]x", "[link=file:///etc]x[/link]", ":smile:", "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\r", "\b\b",
    "\ud800", "a\nb", "\u202e", "\u200b", "x" * 5_000, "[" * 50, "\\[/x]", "\x00", "", " ", "é中",
)  # fmt: skip
ANY = st.one_of(st.sampled_from(NASTY), st.text(), st.text(st.characters(categories=["Cc", "Cs", "Cf"])))
KEYS = ("0" * 16, "1" * 16)


def cells(*names):
    return [Cell({"levels": 2, "init": {"name": name}}, key) for key, name in zip(KEYS, names, strict=True)]


def printed(function):
    """Return the UTF-8 text that a function prints."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(out):
        function()
    out.flush()
    return out.buffer.getvalue().decode()


def assert_plain(out):
    assert out.replace("\n", "").isprintable()


@given(ANY)
def test_a_study_is_shown_whatever_its_records_say(text):
    study, grid = Path("multirun") / text.replace("\0", ""), cells(text, "other")

    def show():
        live = LiveTable()
        live.announce(study, grid, dict.fromkeys(KEYS, (30, 0)))
        live.note(text)
        live.show(News(KEYS[0], "running", 1, 15, 0.5, 0.8))
        live.console.print(live.render())
        live.show(News(KEYS[0], "failed"))
        closing_table(grid, {key: {"status": "failed", "level": 0, "error": text} for key in KEYS}, study)

    out = printed(show)
    assert_plain(out)
    assert printable(text) in out
    assert out.count(KEYS[0]) == 1


@given(ANY)
def test_a_status_is_shown_whatever_its_records_say(text):
    found = {key: Standing("failed", 0, text) for key in KEYS}
    study = standings.Study(cells(text, "other"), {})
    out = printed(lambda: standings._as_table(Path("multirun/x"), study, found, [text]))
    assert_plain(out)
    assert shown(text, standings._REASON) in out


@pytest.mark.parametrize("text", NASTY)
def test_the_live_table_is_plain_on_any_console(text):
    """Whoever renders it: the parts of the table are text by themselves."""
    display, grid = ClusterDisplay(), cells(text, "other")
    display._names, display._levels, display.done = varying(grid), dict.fromkeys(KEYS, 2), dict.fromkeys(KEYS, 0)
    display.latest = {KEYS[0]: News(KEYS[0], "running", 1)}
    display.line = f"tasks: {text}"
    out = io.StringIO()
    Console(file=out, width=20_000).print(display.render())
    assert_plain(out.getvalue())
    assert shown(text)[:-1] in out.getvalue()


@pytest.mark.parametrize("columns", ["0", "1", "5"])
def test_a_terminal_too_narrow_to_read_counts_as_one_of_80_columns(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert page().width == 80
    out = printed(lambda: closing_table(cells("a", "b"), {KEYS[0]: {"status": "done", "level": 2}}, Path("x")))
    assert re.search(f"init=a .*done .*2 .*{KEYS[0]}", out)
