"""Where panels stand: side by side, below each other, on as many pages as they need, with room for a legend."""

import itertools
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from multirun_analysis.style import Style
from multirun_analysis.view import MANY

# Size of a panel on the screen, in inches.
WIDTH, HEIGHT = 3.5, 2.7

# Widths of a paper's column and page, in inches: one column of panels takes a column, several take a page.
COLUMN, PAGE = 3.35, 6.9

# Heights of the tallest page, in inches: A4 on the screen, the text of a page on paper.
TALLEST, TALLEST_ON_PAPER = 11.7, 9.2

# Pages of a figure that are drawn.
_PAGES = 6

# Panels side by side where a lone row of them wraps, and the most of a row of a grid.
_WRAP, _MOST = 3, 4

# What stands between the parts of a panel's title.
BETWEEN = "  ·  "

# What stands between a part of names and the number of all, in a title.
OF = " of "

K = TypeVar("K")


@dataclass(frozen=True)
class Sheet(Generic[K]):
    """One page of a figure: the Axes of its panels, the inches that a title may be wide, which page it is in words."""

    figure: Figure
    axes: Mapping[K, Axes]
    room: float
    says: str


def parts(names: Sequence[str], most: int = MANY) -> list[list[str]]:
    """Return names in as few parts of at most `most` as there can be, of nearly equal sizes: a panel's lines each."""
    count = max(math.ceil(len(names) / most), 1)
    ends = [round(i * len(names) / count) for i in range(count + 1)]
    return [list(names[low:high]) for low, high in itertools.pairwise(ends)]


def is_left(ax: Axes) -> bool:
    """Return whether a panel is the first of its row."""
    place = ax.get_subplotspec()
    return place is not None and place.is_first_col()


def is_beside(one: Axes, other: Axes) -> bool:
    """Return whether two panels are in one row."""
    places = one.get_subplotspec(), other.get_subplotspec()
    return None not in places and places[0].rowspan == places[1].rowspan  # type: ignore[union-attr]


def is_bottom(ax: Axes) -> bool:
    """Return whether a panel is in the last row of its page."""
    place = ax.get_subplotspec()
    return place is not None and place.is_last_row()


def part_name(part: Sequence[str], of: Sequence[Sequence[str]]) -> str:
    """Return a title for a part of names, `7–12 of 60`; empty where there is one part."""
    if len(of) == 1:
        return ""
    before = sum(len(other) for other in of[: [list(other) for other in of].index(list(part))])
    which = f"{before + 1}–{before + len(part)}" if len(part) > 1 else f"{before + 1}"
    return f"{which}{OF}{sum(map(len, of))}"


def side_by_side(rows: Sequence[Sequence[K]], most: int = _MOST) -> tuple[list[K | None], int]:
    """Return the panels of rows, which are equally long, in order, and how many stand side by side.

    A lone row or column of panels wraps, and so do rows of more than `most`; None is an empty place.
    """
    columns = len(rows[0])
    if 1 in (len(rows), columns):
        flat: list[K | None] = [key for row in rows for key in row]
        return flat, 2 if len(flat) == 4 else min(len(flat), _WRAP, most)
    wide = math.ceil(columns / math.ceil(columns / most))
    filled = [[*row, *[None] * (-columns % wide)] for row in rows]
    return [key for row in filled for key in row], wide


def sheets(
    keys: Sequence[K | None],
    wide: int,
    names: Callable[[Sequence[K]], Sequence[str]],
    look: Style,
    *,
    width: float = WIDTH,
    height: float = HEIGHT,
    together: int = 1,
) -> Iterator[Sheet[K]]:
    """Yield the pages of a figure with a panel for each key, `wide` of them side by side.

    `names` returns those in the legend beside some panels. `width` and `height` are those of a panel on the screen, in
    inches. Rows of panels that stand `together` stay on a page where they can. No page is taller than `TALLEST`, or on
    paper `TALLEST_ON_PAPER`.
    """

    def size(of: Sequence[K | None]) -> tuple[float, float, float]:
        return _size(len(of), wide, names([key for key in of if key is not None]), look, width, height)

    found: list[Sequence[K | None]] = []
    rest = keys
    while rest:
        rows = math.ceil(len(rest) / wide)
        tallest = TALLEST_ON_PAPER if look.paper else TALLEST
        most = next((n for n in range(rows, 0, -1) if size(rest[: n * wide])[1] <= tallest), 1)
        whole = most if most == rows else most - most % together or most
        found.append(rest[: whole * wide])
        rest = rest[whole * wide :]
    left = sum(key is not None for page in found[_PAGES:] for key in page)
    unseen = f" {left} more panels are not drawn; --where chooses." if left else ""
    count = min(len(found), _PAGES)
    for i, page in enumerate(found[:count], 1):
        across, tall, room = size(page)
        figure = Figure(figsize=(across, tall), layout="constrained")
        axes = figure.subplots(math.ceil(len(page) / wide), wide, squeeze=False).flat
        placed: dict[K, Axes] = {}
        for ax, key in itertools.zip_longest(axes, page):
            if key is None:
                ax.set_axis_off()
            else:
                placed[key] = ax
        yield Sheet(figure, placed, room, f"Page {i} of {count}.{unseen}" if count > 1 else "")


def entitle(sheet: Sheet[K], titles: Mapping[K, str]) -> None:
    """Write the titles of a page's panels: each in one line, or all in as many lines as they need."""
    across = max(int(sheet.room / _wide(1, "axes.titlesize")), 8)
    short = max(map(len, titles.values()), default=0) <= across
    for key, text in titles.items():
        lines = [text] if short else [_filled(part, across) for part in text.split(BETWEEN)]
        sheet.axes[key].set_title("\n".join(lines))


def _filled(text: str, across: int) -> str:
    """Return a text in lines of at most so many characters, `name = value` on one line where that fits."""
    whole = text.replace(" = ", "\u00a0=\u00a0")
    fits = max(map(len, whole.split(" "))) <= across
    return textwrap.fill(whole if fits else text, across).replace("\u00a0", " ")


def beside(names: Sequence[str], height: float) -> tuple[int, float]:
    """Return the columns, and their width in inches, that a legend takes beside panels of a height in inches."""
    if not names:
        return 0, 0.0
    columns = math.ceil(len(names) / max(int(height / (0.0227 * _points("legend.fontsize"))), 1))
    return columns, columns * (0.75 + 0.83 * _wide(max(map(len, names)), "legend.fontsize"))


def above(names: Sequence[str], width: float) -> int:
    """Return how many names of a legend fit side by side on paper; `width` is in inches."""
    return max(int(width / (0.45 + _wide(max(map(len, names), default=0), "legend.fontsize"))), 1)


def _size(
    count: int, wide: int, names: Sequence[str], look: Style, width: float, height: float
) -> tuple[float, float, float]:
    """Return width and height of a figure, and the width of a panel's title, in inches.

    On paper a figure is as wide as a column or a page, and the legend is above the panels; else it is beside them.
    """
    high = math.ceil(count / wide)
    if look.paper:
        across = COLUMN if wide == 1 else PAGE
        panel = min(max(height / width * across / wide, 1.3), 2.2 * height / HEIGHT)
        legend_height = 0.025 * _points("legend.fontsize") * (1 + math.ceil(len(names) / above(names, across)))
        return across, high * (panel + 0.15) + legend_height + 0.3, across / wide - 0.3
    tall = high * height + 0.5
    return wide * width + 0.3 + beside(names, tall)[1], tall, width - 0.65


def _wide(characters: int, size: str) -> float:
    """Return about how wide so many characters are, in inches; `size` is a setting of matplotlib."""
    return characters * 0.6 * _points(size) / 72


def _points(size: Any) -> float:
    return float(FontProperties(size=mpl.rcParams[size]).get_size_in_points())
