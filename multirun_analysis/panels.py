"""A grid of panels with one legend and one note outside them, and axes that show what they leave out."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import DrawingArea, HPacker, TextArea
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from multirun_analysis.levels import percent

# Size of a panel on the screen, in inches.
WIDTH, HEIGHT = 3.5, 2.7

# Widths of a paper's column and page, in inches: one column of panels takes a column, several take a page.
COLUMN, PAGE = 3.35, 6.9

# Panels side by side where a lone row of them wraps.
_WRAP = 3

# Values are far from the rest where the empty stretch of axis between is this many times as long as the rest ...
_STRETCH = 3.0

# ... and at least this part of their median: where all else is alike, a small step is shown.
_LEAST = 0.1


class Limits(NamedTuple):
    """The ends of an axis."""

    low: float
    high: float


def grid(
    rows: Sequence[object],
    cols: Sequence[object],
    names: Sequence[str],
    look: str,
    *,
    width: float = WIDTH,
    height: float = HEIGHT,
    wrap: bool = True,
) -> tuple[Figure, NDArray[Any]]:
    """Return a figure and its Axes, an array of len(rows) x len(cols); a lone row or column of panels wraps.

    `names` are those in the legend, which takes its room beside the panels on the screen and above them on paper;
    `width` and `height` are those of a panel on the screen, in inches; on paper a figure is as wide as a column or a
    page.
    """
    n_rows, n_cols = len(rows), len(cols)
    flat = wrap and 1 in (n_rows, n_cols)
    total = n_rows * n_cols
    wide = (2 if total == 4 else min(total, _WRAP)) if flat else n_cols
    high = math.ceil(total / wide)
    if look == "paper":
        across = COLUMN if wide == 1 else PAGE
        panel = min(max(height / width * across / wide, 1.3), 2.2 * height / HEIGHT)
        legend_height = 0.16 * (1 + math.ceil(len(names) / _fitting(names, across)))
        size = (across, high * (panel + 0.15) + legend_height + 0.3)
    else:
        tall = high * height + 0.5
        size = (wide * width + 0.3 + _beside(names, tall)[1], tall)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(high, wide, squeeze=False)
    if not flat:
        return figure, axes
    for ax in axes.flat[total:]:
        ax.set_axis_off()
    return figure, axes.ravel()[:total].reshape(n_rows, n_cols)


def title(names: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    """Return the title of a panel from the names of its row and column; one config column is named, as `lr = 0.1`."""
    return "  ·  ".join(
        f"{cols[0]} = {name}" if len(cols) == 1 else name for name, cols in zip(names, columns, strict=True) if name
    )


def limits(values: Iterable[float], metric: str) -> Limits:
    """Return ends for an axis that holds all values, unless far ones on the worse side would squash the rest.

    Low accuracies and high losses are left out where an empty stretch three times as long as the rest parts
    them from a better half or more; other metrics are shown in full.
    """
    found = np.sort([value for value in values if math.isfinite(value)])
    if not len(found):
        return Limits(0.0, 1.0)
    best_first = found[::-1] if metric.endswith("accuracy") else found
    kept = _near(best_first) if metric.endswith(("accuracy", "loss")) else found
    pad = 0.05 * max(kept.max() - kept.min(), 0.01 * abs(float(np.median(kept))), 1e-9)
    return Limits(float(kept.min() - pad), float(kept.max() + pad))


def share(all_limits: Sequence[Limits]) -> list[Limits]:
    """Return one common axis for all panels, unless it would be more than three times as long as the shortest."""
    low, high = min(one.low for one in all_limits), max(one.high for one in all_limits)
    if high - low > 3 * min(one.high - one.low for one in all_limits):
        return list(all_limits)
    return [Limits(low, high)] * len(all_limits)


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


def percent_axis(ax: Axes, remaining: pd.Series) -> None:
    """Make x a log axis of the fraction of weights remaining, from 100 % on the left, marked in percent.

    The marks are the levels themselves where all lines share them, as in the paper (100, 51.3, 26.3, ...),
    else 100, 50, 20, 10, ...
    """
    shown = np.sort(remaining.dropna().round(9).unique())[::-1]  # means of equal fractions differ in the last bit
    end = shown.min() if len(shown) else 0.5
    ax.set_xscale("log")
    ax.set_xlim(1.0 * 1.08, min(end / 1.08, 0.9))
    ax.xaxis.set_major_locator(FixedLocator(_apart(shown) or [1.0]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))


def legend(figure: Figure, sections: Sequence[tuple[str, Sequence[Artist]]], look: str) -> None:
    """Put one legend beside the panels, or above them on paper: sections of labelled handles, each with a heading."""
    sections = [(heading, entries) for heading, entries in sections if entries]
    names = [str(entry.get_label()) for _, entries in sections for entry in entries]
    if look == "paper":
        handles = [entry for _, entries in sections for entry in entries]
        columns = min(_fitting(names, figure.get_figwidth()), len(names))
        heading = sections[0][0] if sections and len(sections[0][1]) > len(names) / 2 else ""
        place: dict[str, Any] = {"loc": "outside upper center", "handlelength": 2.0, "columnspacing": 1.0}
        figure.legend(handles=handles, ncols=columns, title=heading or None, **place)
        return
    handles = []
    for heading, entries in sections:
        handles += [Line2D([], [], linestyle="none", label=heading)] if heading else []
        handles += entries
    if not handles:
        return
    headings = {heading for heading, _ in sections}
    columns = _beside([*names, *headings], figure.get_figheight())[0]
    box = figure.legend(handles=handles, loc="outside right upper", ncols=columns, fontsize="small", handlelength=2.6)
    for entry in box.findobj(HPacker):
        match entry.get_children():
            case [DrawingArea() as handle, TextArea() as name] if name.get_text() in headings:
                handle.set_visible(False)  # a packer gives no room to what is not visible: the heading moves left
    for text in box.get_texts():
        text.set_fontweight("bold" if text.get_text() in headings else "normal")


def note(figure: Figure, text: str) -> None:
    """Put small print under the panels, wrapped to the figure's width."""
    size = min(7.0, 0.85 * float(mpl.rcParams["font.size"]))
    lines = textwrap.fill(text, int(figure.get_figwidth() * 126 / size))
    figure.supxlabel(lines, fontsize=size, color="0.35", x=0.01, ha="left")


def _beside(names: Sequence[str], height: float) -> tuple[int, float]:
    """Return the columns, and their width in inches, that a legend takes beside panels of a height in inches."""
    columns = math.ceil(len(names) / max(int(height / 0.2), 1))
    return columns, columns * (0.75 + 0.075 * max(map(len, names), default=0))


def _fitting(names: Sequence[str], width: float) -> int:
    """Return how many names of a legend fit side by side on paper; `width` is in inches."""
    return max(int(width / (0.42 + 0.05 * max(map(len, names), default=0))), 1)


def _apart(shown: NDArray[Any]) -> list[float]:
    """Return the levels to mark, a factor of 1.6 apart or more; round numbers where levels of several rates mix."""
    if len(shown) > 1 and (shown[:-1] / shown[1:]).min() < 1.03:
        round_numbers = (part * 10.0**-power for power in range(7) for part in (1.0, 0.5, 0.2))
        shown = np.array([number for number in round_numbers if number >= shown.min()])
    span = math.log(shown.max() / shown.min()) if len(shown) else 0.0
    step = max(math.log(1.6), span / 8)
    marks: list[float] = []
    for value in shown:
        if not marks or math.log(marks[-1] / value) > step - 1e-6:
            marks.append(float(value))
    return marks


def _near(best_first: NDArray[Any]) -> NDArray[Any]:
    """Return the values before the first empty stretch that far worse ones lie beyond, and the better half always."""
    gaps, rest = np.abs(np.diff(best_first)), np.abs(best_first[:-1] - best_first[0])
    wide = gaps > np.maximum(_STRETCH * rest, _LEAST * abs(np.median(best_first)))
    wide[: len(best_first) // 2 - 1] = False
    return best_first[: int(wide.argmax()) + 1] if wide.any() else best_first
