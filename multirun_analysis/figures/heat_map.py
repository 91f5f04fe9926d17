"""A metric over two axes of a grid, at chosen weights remaining."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from multirun_analysis import curves, levels, notes, panels, style
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, check_levels
from multirun_analysis.view import View, first, label, readable

# Fractions of weights remaining that are drawn unless others are asked for: where most studies' tickets win.
_WANTED = (0.2,)

# Columns of panels that are drawn.
_MOST = 6


def table(study: Study, view: View) -> pd.DataFrame:
    """Return the mean of the view's metric over seeds, at the level of each ticket nearest to what should remain.

    Columns: `wanted` (the fraction that should remain)`, panel` (name of all that varies beside the axes and the
    seed)`, across, down` (places on the axes)`, across_is, down_is` (their columns)`, mean, n, remaining`. The axes
    are those of the view or else the two columns with the most values. Raises NothingToShow where fewer than two vary.
    """
    check_levels(study, counted=True)
    curves.check_metric(study.levels, view.metric)
    look = dataclasses.replace(view, axes=axes(study.cells, view))
    other = tuple(name for name in view.choice if name not in look.axes)
    cells = readable(study.cells)
    names = cells.assign(
        panel=label(cells, other).cat.rename_categories(_named(other)),
        across=label(cells, look.axes[:1]),
        down=label(cells, look.axes[1:]),
    )[["key", "panel", "across", "down"]]
    found = []
    for wanted in view.remaining or _WANTED:
        there = curves.at_remaining(study.levels, look, wanted)[["key", "remaining", view.metric]]
        named = there.astype({"key": "str"}).merge(names.astype({"key": "str"}))
        place = ["panel", "across", "down"]
        mean = curves.bands(named, place, view.metric)
        remaining = curves.bands(named, place, "remaining").rename(columns={"mean": "remaining"})
        found.append(mean.merge(remaining[[*place, "remaining"]]).assign(wanted=wanted))
    every = pd.concat(found, ignore_index=True)
    if every.empty:
        asked = ", ".join(levels.percent(wanted) for wanted in view.remaining or _WANTED)
        raise NothingToShow(f"no cell has a level near {asked} % of the weights; --remaining names another")
    across_is, down_is = look.axes
    every = every.assign(across_is=across_is, down_is=down_is)
    return every[["wanted", "panel", "across", "down", "across_is", "down_is", "mean", "n", "remaining"]]


def _named(columns: tuple[str, ...]) -> Callable[[str], str]:
    """Return what names a panel as panels are titled: `lr = 0.1`, or the bare values of several columns."""
    return lambda value: panels.title([value], [columns])


def axes(cells: pd.DataFrame, view: View) -> tuple[str, ...]:
    """Return the two axes: those asked for, or the columns with the most values, the one of numbers across."""
    if view.axes:
        return view.axes
    many = sorted(view.columns, key=lambda name: -cells[name].nunique())[:2]
    if len(many) < 2 or cells[many[1]].nunique() < 2:
        what = f"only {many[0]} varies" if many else "no config value varies but the seed"
        raise NothingToShow(f"{what}, and a heat map needs two axes")
    return tuple(sorted(many, key=lambda name: not pd.api.types.is_numeric_dtype(cells[name])))


def draw(df: pd.DataFrame, view: View) -> Figure:
    """Draw a row of panels for each fraction remaining, a column for each other choice; numbers in the squares.

    `df` is `table(...)`. A square without a cell that got there is empty.
    """
    df, unseen = first(df, "panel", _MOST)
    wanted, others = sorted(df["wanted"].unique(), reverse=True), list(df["panel"].cat.categories)
    across, down = (list(df[axis].cat.categories) for axis in ("across", "down"))
    ends = panels.limits(df["mean"], view.metric)
    percent = view.metric.endswith("accuracy")
    size = 0.62 * max(len(across), 3) + 0.075 * max(map(len, down)), max(0.3 * len(down) + 1.2, 2.0)
    with style.rc(view.style):
        figure, grid = panels.grid(wanted, others, [], view.style, width=size[0], height=size[1])
        for i, fraction in enumerate(wanted):
            for j, other in enumerate(others):
                here = df[df["wanted"].eq(fraction) & df["panel"].eq(other)]
                means = here.set_index(["down", "across"])["mean"]
                square = means.unstack().reindex(index=down, columns=across)  # noqa: PD010  # no aggregation
                numbers = [[_number(value, percent) for value in line] for line in square.to_numpy(dtype=float)]
                rows: Any = "auto" if j == 0 else False
                text = {"annot": np.array(numbers), "annot_kws": {"fontsize": "small"}, "fmt": ""}
                colors = {"cmap": "cividis", "cbar": False, "norm": Normalize(*ends), "linewidths": 0.5}
                sns.heatmap(square, ax=grid[i, j], yticklabels=rows, **colors, **text)
                remaining = f"{_range(here['remaining'])} % remaining"
                grid[i, j].set_title(panels.title([remaining, other], [(), ()]), fontsize="medium")
                grid[i, j].set_xlabel(df["across_is"].iloc[0])
                grid[i, j].set_ylabel(df["down_is"].iloc[0] if j == 0 else "")
                grid[i, j].tick_params(length=0, rotation=0)
                grid[i, j].grid(visible=False)
        panels.note(figure, _note(df, unseen, view))
    return figure


def _number(value: float, percent: bool) -> str:
    if np.isnan(value):
        return ""
    return f"{100 * value:.2f}" if percent else f"{value:.3g}"


def _range(remaining: pd.Series) -> str:
    if remaining.empty:
        return "–"
    low, high = levels.percent(remaining.min()), levels.percent(remaining.max())
    return high if low == high else f"{low} to {high}"


def _note(df: pd.DataFrame, unseen: str, view: View) -> str:
    metric = view.metric.replace("_", " ") + (" in %" if view.metric.endswith("accuracy") else "")
    says = f"Tickets: {metric}, mean over {notes.seeds(df['n'])}; empty: no cell has got there."
    return notes.sentences(says, unseen, view.note)
