"""A score against the width of the network, at chosen weights remaining (Ramanujan et al. 2020)."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ltsweep.schema import TICKET
from multirun_analysis import curves, levels, metrics, notes, pages, panels, style
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, check_levels
from multirun_analysis.metrics import Measured
from multirun_analysis.schema import COUNTED
from multirun_analysis.view import View, label, readable

# The config column of the width.
_WIDTH = "model.width"

# Fractions of weights remaining that are drawn unless others are asked for: half of them is the paper's.
_WANTED = (0.5,)

_DENSE = "dense"


def table(study: Study, view: View) -> pd.DataFrame:
    """Return the mean of the view's metric over seeds for each width, of tickets and of the dense networks.

    Columns: `wanted` (the fraction that should remain)`, line` (name of all else that varies but for the seed)`, width,
    network` (ticket or dense)`, mean, low, high, n, metric, scale`. Raises NothingToShow where no widths vary.
    """
    check_levels(study, counted=True)
    curves.check_metric(study.levels, view.metric)
    cells = readable(study.cells)
    if _WIDTH not in view.choice or cells[_WIDTH].nunique() < 2:
        raise NothingToShow("all networks have one width; model.width=0.5,1,2 makes a grid of widths")
    other = tuple(name for name in view.choice if name != _WIDTH)
    names = cells.assign(line=label(cells, other), width=cells[_WIDTH].astype("float64"))[["key", "line", "width"]]
    every = curves.final(study.levels)
    dense = every[every["arm"].eq(TICKET) & every["status"].isin(COUNTED) & every["level"].eq(0)]
    found = []
    measured = curves.recorded(study.levels, view.metric)
    for wanted, (metric, scale, own) in itertools.product(view.remaining or _WANTED, measured):
        tickets = curves.at_remaining(own, metric, wanted)
        for network, those in {TICKET: tickets, _DENSE: dense[dense["key"].isin(own["key"])]}.items():
            score = those[["key", metrics.averaged(metric)]].astype({"key": "str"})
            means = curves.bands(score.merge(names.astype({"key": "str"})), ["line", "width"], metric, view.band)
            found.append(means.assign(wanted=wanted, network=network, metric=metric, scale=scale))
    rows = pd.concat(found, ignore_index=True)
    if not rows["network"].eq(TICKET).any():
        asked = ", ".join(levels.percent(wanted) for wanted in view.remaining or _WANTED)
        raise NothingToShow(f"no cell has a level near {asked} % of the weights; --remaining names another")
    return rows[["wanted", "line", "width", "network", "mean", "low", "high", "n", "metric", "scale"]]


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a panel for each fraction remaining, a line a choice; dotted the dense networks. `df` is `table(...)`."""
    parts = [tuple(part) for part in pages.parts([str(name) for name in df["line"].cat.categories])]
    look = {name: own for part in parts for name, own in zip(part, style.looks(part), strict=True)}
    heading = ", ".join(name for name in view.choice if name != _WIDTH)

    def legend(keys: Iterable[_Panel]) -> list[tuple[str, list[panels.Entry]]]:
        shown = [name for key in keys for name in key.part]
        dense: list[Line2D] = [Line2D([], [], color=look[name][0], linestyle=":") for name in parts[0]]
        choices = panels.by_part(heading, parts, shown, lambda name: _handle(name, look)) if heading else []
        return [*choices, ("", [panels.several(dense, _DENSE)])]

    measured = metrics.measured(df)
    every = itertools.product(sorted(df["wanted"].unique(), reverse=True), measured, parts)
    keys = [_Panel(wanted, part, one) for wanted, one, part in every]
    if len(measured) > 1:
        keys = [key for key in keys if len(key.of(df))]
    own = {one: df.loc[one.holds(df), ["mean", "low", "high"]].to_numpy().ravel() for one in measured}
    ends = {one: panels.limits(values, one.metric, view.style) for one, values in own.items()}
    with style.rc(view.style):
        placed, wide = pages.side_by_side([keys])
        drawn = []
        for sheet in pages.sheets(placed, wide, lambda keys: panels.named(legend(keys)), view.style):
            for key, ax in sheet.axes.items():
                _panel(ax, key.of(df), look)
                panels.clip(ax, ax.lines, ends[key.measured])
                ax.set_ylabel(metrics.on_axis(key.measured.metric))
            titles = {key: _title(key, parts) for key in sheet.axes}
            pages.entitle(sheet, titles)
            panels.legend(sheet.figure, legend(sheet.axes), view.style)
            panels.note(sheet.figure, notes.sentences(sheet.says, _note(df, view)), view.style)
            drawn.append(sheet.figure)
    return drawn


class _Panel(NamedTuple):
    """What a panel shows: what should remain, some of the lines, and their metric."""

    wanted: float
    part: tuple[str, ...]
    measured: Measured

    def of(self, df: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the table that are drawn in this panel."""
        return df[df["wanted"].eq(self.wanted) & df["line"].isin(self.part) & self.measured.holds(df)]


def _title(key: _Panel, parts: Sequence[tuple[str, ...]]) -> str:
    return panels.title([f"{levels.percent(key.wanted)} % remaining", pages.part_name(key.part, parts)], [(), ()])


def _handle(name: str, look: dict[str, tuple[style.Color, str]]) -> panels.Entry:
    color, marker = look[name]
    return Line2D([], [], color=color, marker=marker, label=name)


def _panel(ax: Axes, here: pd.DataFrame, look: dict[str, tuple[style.Color, str]]) -> None:
    for pair, rows in here.groupby(["line", "network"], observed=True):
        name, network = map(str, pair)
        color, marker = look[name]
        own: dict[str, Any] = (
            {"linestyle": ":"} if network == _DENSE else {"marker": marker, "markeredgecolor": "white"}
        )
        ax.plot(rows["width"], rows["mean"], color=color, label=f"{name}|{network}", **own)
        if network == TICKET and (rows["high"] > rows["low"]).any():
            panels.band(ax, rows, "width", color, 0.15, f"_{name}")
    widths = sorted(here["width"].unique())
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(widths))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlabel("width of the network")


def _note(df: pd.DataFrame, view: View) -> str:
    mean = notes.over_seeds(df["n"], f"Tickets: mean over {{}}, band {curves.BANDS[view.band]}.")
    return notes.sentences(mean, "Dotted: the dense networks, trained.", view.note)
