"""A grid of panels with one legend and one note outside them, and axes that show what they leave out."""

import math
import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.offsetbox import DrawingArea, HPacker, TextArea
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from multirun_analysis import metrics, style
from multirun_analysis.levels import percent
from multirun_analysis.pages import BETWEEN, OF, above, beside, part_name
from multirun_analysis.style import SCREEN, Style

# Values are far from the rest where the empty stretch of axis between is this many times as long as the rest ...
_STRETCH = 3.0

# ... and at least this part of their median: where all else is alike, a small step is shown.
_LEAST = 0.1


# Least length of an axis as a part of the median, where the metric has none of its own: less is mostly noise.
_SHORTEST_PART = 0.05

# An entry of a legend: a line, or several side by side under one name.
Entry = Artist | tuple[Artist, ...]


class Limits(NamedTuple):
    """The ends of an axis."""

    low: float
    high: float


def title(names: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    """Return the title of a panel from the names of its row and column.

    One config column is named, as `lr = 0.1`; of several those that are numbers. A pruning rate is the share removed of
    what a level begins with, and what it keeps stands beside it.
    """
    return BETWEEN.join(_titled(name, cols) for name, cols in zip(names, columns, strict=True) if name)


def _titled(name: str, columns: Sequence[str]) -> str:
    if len(columns) == 1:
        return _equal(columns[0], name)
    values = name.split(", ")
    if len(values) != len(columns):
        return name
    pairs = zip(columns, values, strict=True)
    return ", ".join(_equal(column, value) if style.is_number(value) else value for column, value in pairs)


def _equal(column: str, value: str) -> str:
    kept = f" ({percent(1 - float(value))} % kept)" if column == "prune_rate" and style.is_number(value) else ""
    return f"{column} = {value}{kept}"


def limits(values: Iterable[float], metric: str, look: Style = SCREEN) -> Limits:
    """Return ends for an axis that holds all values, unless far ones on the worse side would squash the rest.

    Low accuracies and returns and high losses are left out where an empty stretch three times as long as the rest parts
    them from a better half or more that are not all alike; other metrics are shown in full. The axis of an accuracy is
    one point long or more, of another metric a twentieth of its median: a shorter one would show noise. Limits of the
    user's own come first.
    """
    if metric in look.limits:
        return Limits(*look.limits[metric])
    found = np.sort([value for value in values if math.isfinite(value)])
    if not len(found):
        return Limits(0.0, 1.0)
    known = metrics.of(metric)
    kept = _near(found[::-1] if known.higher else found) if known.far else found
    low, high = float(kept.min()), float(kept.max())
    least = known.shortest or _SHORTEST_PART * abs(float(np.median(kept))) or 1.0
    wider = max(least - (high - low), 0.0) / 2
    pad = 0.05 * max(high - low, least)
    return Limits(low - wider - pad, high + wider + pad)


def share(all_limits: Sequence[Limits]) -> list[Limits]:
    """Return one common axis for all panels, unless it would be more than three times as long as the shortest."""
    low, high = min(one.low for one in all_limits), max(one.high for one in all_limits)
    if high - low > 3 * min(one.high - one.low for one in all_limits):
        return list(all_limits)
    return [Limits(low, high)] * len(all_limits)


def vacant(ax: Axes) -> None:
    """Say in a panel that there is nothing to draw in it."""
    ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center", va="center", color="0.35")
    ax.set_yticks([])


def clip(ax: Axes, lines: Iterable[Line2D], ends: Limits) -> int:
    """Set the y-axis to `ends`, mark points beyond it by triangles at the edge, and return their number."""
    ax.set_ylim(ends.low, ends.high)
    beyond = 0
    for line in lines:
        x, y = (np.asarray(data, dtype=float) for data in line.get_data())
        for outside, edge, marker in ((y < ends.low, ends.low, "v"), (y > ends.high, ends.high, "^")):
            if outside.any():
                beyond += int(outside.sum())
                mark: dict[str, Any] = {"markersize": 5, "clip_on": False, "zorder": 5, "label": "_beyond"}
                ax.plot(x[outside], np.full(outside.sum(), edge), marker, color=line.get_color(), **mark)
    return beyond


def band(ax: Axes, line: pd.DataFrame, x: str, color: object, alpha: float, label: str) -> None:
    """Draw the band of a line from its columns `low` to `high` over the column `x`."""
    ax.fill_between(line[x], line["low"], line["high"], color=color, alpha=alpha, linewidth=0, label=label)


def powers(axis: Axis) -> None:
    """Write the marks of a log axis as 1e+16, which names powers that are far apart in little room."""
    axis.set_major_locator(LogLocator(numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    axis.set_minor_formatter(NullFormatter())


def percent_axis(ax: Axes, remaining: pd.Series, look: Style = SCREEN) -> None:
    """Make x a log axis of the fraction of weights remaining, from 100 % on the left, marked in percent.

    The marks are the levels themselves where all lines share them, as in the paper (100, 51.3, 26.3, ...),
    else 100, 50, 20, 10, ... The ends are the user's own limits of `remaining`, where there are any.
    """
    shown = np.sort(remaining.dropna().round(9).unique())[::-1]  # means of equal fractions differ in the last bit
    end = shown.min() if len(shown) else 0.5
    ax.set_xscale("log")
    least, most = sorted(look.limits.get("remaining", (min(end / 1.08, 0.9), 1.0 * 1.08)))
    ax.set_xlim(most, least)
    ax.xaxis.set_major_locator(FixedLocator(_apart(shown) or [1.0]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))


def thousands(ax: Axes) -> None:
    """Write the numbers of a long x-axis in thousands: in full those of 100,000 on would run into each other."""
    if ax.get_xlim()[1] >= 100_000:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:g}k" if value else "0"))


def several(lines: Sequence[Line2D], label: str) -> Entry:
    """Return an entry of a legend for lines of several colours: the first three, side by side."""
    if len(lines) == 1:
        lines[0].set_label(label)
        return lines[0]
    shown = tuple(lines[:3])
    shown[0].set_label(label)
    return shown


def by_part(
    heading: str, parts: Sequence[Sequence[str]], shown: Iterable[str], handle: Callable[[str], Entry]
) -> list[tuple[str, list[Entry]]]:
    """Return the sections of a legend for names in parts of which some are shown, with the heading of a lone part."""
    there = set(shown)
    return [(part_name(part, parts) or heading, [handle(name) for name in part]) for part in parts if there & set(part)]


def legend(figure: Figure, sections: Sequence[tuple[str, Sequence[Entry]]], look: Style) -> None:
    """Put one legend beside the panels, or above them on paper: sections of labelled handles, each with a heading."""
    sections = [(heading, entries) for heading, entries in sections if entries]
    names = [_label(entry) for _, entries in sections for entry in entries]
    if not names:
        return
    sides: dict[str, Any] = {"handler_map": {tuple: HandlerTuple(ndivide=None, pad=0.0)}}
    sides["handlelength"] = (
        3.6 if any(isinstance(entry, tuple) for _, entries in sections for entry in entries) else 2.4
    )
    if look.paper and not any(OF in heading for heading, _ in sections):
        handles: list[Any] = [entry for _, entries in sections for entry in entries]
        columns = min(above(names, figure.get_figwidth()), len(names))
        heading = sections[0][0] if len(sections[0][1]) > len(names) / 2 else ""
        place: dict[str, Any] = {"loc": "outside upper center", "columnspacing": 1.0}
        figure.legend(handles, names, ncols=columns, title=heading or None, **sides, **place)
        return
    handles, names = [], []
    for heading, entries in sections:
        if heading:
            handles.append(Line2D([], [], linestyle="none"))
            names.append(heading)
        handles += entries
        names += map(_label, entries)
    headings = {heading for heading, _ in sections}
    if look.paper:
        columns = min(above(names, figure.get_figwidth()), len(names))
        place = {"loc": "outside upper center", "ncols": columns, "columnspacing": 1.0}
    else:
        columns = beside(names, figure.get_figheight())[0]
        place = {"loc": "outside right upper", "ncols": columns, "fontsize": "small"}
    for at in _breaks(names, headings, columns):
        handles.insert(at, Line2D([], [], linestyle="none"))
        names.insert(at, "")
    box = figure.legend(handles, names, **sides, **place)
    for packed in box.findobj(HPacker):
        match packed.get_children():
            case [DrawingArea() as handle, TextArea() as name] if name.get_text() in headings:
                handle.set_visible(False)  # a packer gives no room to what is not visible: the heading moves left
    for text in box.get_texts():
        text.set_fontweight("bold" if text.get_text() in headings else "normal")


def _breaks(names: Sequence[str], headings: Collection[str], columns: int) -> list[int]:
    """Return where to put empty entries into a legend, one after the other, so that no column ends in a heading."""
    found: list[int] = []
    padded = list(names)
    for _ in names:
        ends = [int(part[-1]) for part in np.array_split(np.arange(len(padded)), columns)[:-1] if len(part)]
        lone = next((end for end in ends if padded[end] and padded[end] in headings), None)
        if lone is None:
            break
        padded.insert(lone, "")
        found.append(lone)
    return found


def named(sections: Sequence[tuple[str, Sequence[Entry]]]) -> list[str]:
    """Return all that stands in a legend of these sections."""
    return [name for heading, entries in sections for name in [heading, *map(_label, entries)] if name and entries]


def note(figure: Figure, text: str, look: Style = SCREEN) -> None:
    """Put small print under the panels, wrapped to the figure's width: the text, or the user's own, or none."""
    text = look.note if isinstance(look.note, str) else text if look.note else ""
    size = min(7.0, 0.85 * float(mpl.rcParams["font.size"]))
    lines = textwrap.fill(text, int(figure.get_figwidth() * 126 / size))
    figure.supxlabel(lines, fontsize=size, color="0.35", x=0.01, ha="left")


def _label(entry: Entry) -> str:
    return str((entry[0] if isinstance(entry, tuple) else entry).get_label())


def _apart(shown: NDArray[Any]) -> list[float]:
    """Return the levels to mark, a factor of 1.6 or a fifth of the axis apart; round numbers where rates mix."""
    if len(shown) > 1 and (shown[:-1] / shown[1:]).min() < 1.03:
        round_numbers = (part * 10.0**-power for power in range(7) for part in (1.0, 0.5, 0.2))
        shown = np.array([number for number in round_numbers if number >= shown.min()])
    span = math.log(shown.max() / shown.min()) if len(shown) else 0.0
    step = min(max(math.log(1.6), span / 8), span / 5)
    marks: list[float] = []
    for value in shown:
        if not marks or math.log(marks[-1] / value) > step - 1e-6:
            marks.append(float(value))
    return marks


def _near(best_first: NDArray[Any]) -> NDArray[Any]:
    """Return the values before the first empty stretch that far worse ones lie beyond, and the better half always.

    Beside values that are all alike none can be told to be far.
    """
    gaps, rest = np.abs(np.diff(best_first)), np.abs(best_first[:-1] - best_first[0])
    wide = (rest > 0) & (gaps > np.maximum(_STRETCH * rest, _LEAST * abs(np.median(best_first))))
    wide[: len(best_first) // 2 - 1] = False
    return best_first[: int(wide.argmax()) + 1] if wide.any() else best_first
