"""Consoles and tables on which text is text: neither rich's markup nor a terminal's codes in a record do anything."""

from collections.abc import Iterable, Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ltsweep.words import printable, shown

# Characters of a cell of a table, and of one that is wrapped: no cell crowds the others out.
_MOST, _MOST_FOLDED = 240, 1_000
# Columns of a page that is not a terminal: one line a cell, for grep and the like.
WIDE = 1_000
# Columns of a terminal below which nothing can be read, and those that are assumed in their place.
_NARROW, _USUAL = 20, 80

# Heading, and the side to which its column keeps; `fold` wraps long text, which is cut off elsewhere.
Column = tuple[str, Literal["left", "right", "fold"]]


def page(wide: int | None = None) -> Console:
    """Return a console on standard output; `wide`: columns where that is not a terminal."""
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    if wide is not None and not console.is_terminal:
        console.width = wide
    if console.width < _NARROW:  # COLUMNS=0, a terminal that does not tell
        console.width = _USUAL
    return console


def plain(text: str, style: str = "") -> Text:
    """Return text to print as it stands, unprintable characters as escapes."""
    return Text(printable(text), style)


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table without lines, each of its cells one bounded line of plain text."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, side in columns:
        if side == "fold":
            made.add_column(plain(shown(heading)), header_style="dim", overflow="fold")
        else:
            made.add_column(plain(shown(heading)), justify=side, header_style="dim", no_wrap=True)
    most = [_MOST_FOLDED if side == "fold" else _MOST for _, side in columns]
    for row in rows:
        made.add_row(*(plain(shown(text, n)) for text, n in zip(row, most, strict=True)))
    return made
