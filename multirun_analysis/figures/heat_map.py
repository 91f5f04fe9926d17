"""A metric over two axes of a grid, at chosen weights remaining."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multirun_analysis import curves, levels, metrics, notes, pages, panels, style
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, check_levels
from multirun_analysis.metrics import Measured
from multirun_analysis.view import View, label, readable

# Fractions of weights remaining that are drawn unless others are asked for: where most studies' tickets win.
_WANTED = (0.2,)

# Rows and columns of squares in a panel, the inches of the narrowest panel, and of a square on paper.
_ROWS, _COLUMNS, _NARROWEST, _SQUARE = 24, 10, 2.6, 0.36

# Colours from white to a blue that black numbers can be read on.
_COLORS = sns.light_palette("#56b4e9", as_cmap=True)

# Characters of a name that stands across.
_LONG = 7


def table(study: Study, view: View) -> pd.DataFrame:
    """Return the mean of the view's metric over seeds, at the level of each ticket nearest to what should remain.

    Columns: `wanted` (the fraction that should remain)`, panel` (name of all that varies beside the axes and the
    seed)`, across, down` (places on the axes)`, across_is, down_is` (their columns)`, mean, n, remaining, metric,
    scale`. The axes are those of the view or else the two columns with the most values. Raises NothingToShow where
    fewer than two vary.
    """
    check_levels(study, counted=True)
    curves.check_metric(study.levels, view.metric)
    measured = curves.recorded(study.levels, view.metric)
    look = dataclasses.replace(view, axes=axes(study.cells, view, apart=len(measured) > 1))
    other = tuple(name for name in view.choice if name not in look.axes)
    cells = readable(study.cells)
    names = cells.assign(
        panel=label(cells, other).cat.rename_categories(_named(other)),
        across=label(cells, look.axes[:1]),
        down=label(cells, look.axes[1:]),
    )[["key", "panel", "across", "down"]]
    found = []
    for wanted, (metric, scale, rows) in itertools.product(view.remaining or _WANTED, measured):
        there = curves.at_remaining(rows, metric, wanted)
        named = there.astype({"key": "str"}).merge(names.astype({"key": "str"}))
        place = ["panel", "across", "down"]
        mean = curves.bands(named, place, metric)
        remaining = curves.bands(named, place, "remaining").rename(columns={"mean": "remaining"})
        squares = mean.merge(remaining[[*place, "remaining"]])
        found.append(squares.assign(wanted=wanted, metric=metric, scale=scale))
    every = pd.concat(found, ignore_index=True)
    if every.empty:
        asked = ", ".join(levels.percent(wanted) for wanted in view.remaining or _WANTED)
        raise NothingToShow(f"no cell has a level near {asked} % of the weights; --remaining names another")
    across_is, down_is = look.axes
    every = every.assign(across_is=across_is, down_is=down_is)
    places = ["wanted", "panel", "across", "down", "across_is", "down_is"]
    return every[[*places, "mean", "n", "remaining", "metric", "scale"]]


def _named(columns: tuple[str, ...]) -> Callable[[str], str]:
    """Return what names a panel as panels are titled: `lr = 0.1`, or the bare values of several columns."""
    return lambda value: panels.title([value], [columns])


def axes(cells: pd.DataFrame, view: View, *, apart: bool = False) -> tuple[str, ...]:
    """Return the two axes: those asked for, or the columns with the most values, the one of numbers across.

    apart: data sets have other scores, and so panels of their own.
    """
    if view.axes:
        return view.axes
    names = [name for name in view.choice if not (apart and name == "dataset")]
    many = sorted(names, key=lambda name: -cells[name].nunique())[:2]
    if len(many) < 2 or cells[many[1]].nunique() < 2:
        what = f"only {many[0]} varies" if many else "no config value varies but the seed"
        raise NothingToShow(f"{what}, and a heat map needs two axes")
    return tuple(sorted(many, key=lambda name: not pd.api.types.is_numeric_dtype(cells[name])))


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a row of panels for each fraction remaining, a column for each other choice; numbers in the squares.

    `df` is `table(...)`. A square without a cell that got there is empty; a choice of which no cell did has no panel,
    and the note names it. Panels whose tickets have equally many weights share their colours. Long axes are cut into
    several panels.
    """
    wanted = sorted(df["wanted"].unique(), reverse=True)
    others = [(name, one) for name in _choices(df) for one in metrics.measured(df[df["panel"].eq(name)])]
    several = len(set(df["metric"])) > 1
    downs, acrosses = (_cut(df, axis, most) for axis, most in (("down", _ROWS), ("across", _COLUMNS)))
    rows = [
        [_Panel(fraction, other, one, tuple(down), tuple(across)) for other, one in others for across in acrosses]
        for fraction in wanted
        for down in downs
    ]
    names = max(len(name) for down in downs for name in down)
    width = max(0.62 * len(acrosses[0]) + 0.085 * names + 0.4, _NARROWEST)
    height = max(0.3 * len(downs[0]) + 1.2, 2.0)
    with style.rc(view.style):
        most = max(int(pages.PAGE / (_SQUARE * len(acrosses[0]) + 0.055 * names + 0.3)), 1) if view.style.paper else 4
        keys, wide = pages.side_by_side(rows, min(most, 4))
        ends = _ends(df, [key for key in keys if key], view)
        drawn = []
        for sheet in pages.sheets(keys, wide, lambda _: [], view.style, width=width, height=height):
            for key, ax in sheet.axes.items():
                _panel(ax, key, df, ends[key])
            shares = {key: _share(key, df) for key in sheet.axes}
            scores = {key: metrics.words(key.measured.metric) if several else "" for key in sheet.axes}
            titles = {key: panels.title([shares[key], key.other, scores[key]], [(), (), ()]) for key in sheet.axes}
            pages.entitle(sheet, titles)
            panels.note(sheet.figure, notes.sentences(sheet.says, _note(df, sheet.axes, ends, view)), view.style)
            drawn.append(sheet.figure)
    return drawn


class _Panel(NamedTuple):
    """What a panel shows: what should remain, the other choice, its metric, and a part of each axis."""

    wanted: float
    other: str
    measured: Measured
    down: tuple[str, ...]
    across: tuple[str, ...]

    def of(self, df: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the table that this panel and those with other parts of the axes show."""
        return df[df["wanted"].eq(self.wanted) & df["panel"].eq(self.other) & self.measured.holds(df)]


def _cut(df: pd.DataFrame, axis: str, most: int) -> list[list[str]]:
    """Return the names along an axis that have a square, in parts."""
    there = set(df[axis])
    return pages.parts([name for name in df[axis].cat.categories if name in there], most)


def _ends(df: pd.DataFrame, keys: Sequence[_Panel], view: View) -> dict[_Panel, panels.Limits]:
    """Return the ends of each panel's colours: means of other scores, or tickets of other sizes, are not compared."""
    shares: dict[tuple[Measured, str], list[_Panel]] = {}
    for key in keys:
        shares.setdefault((key.measured, _range(key.of(df)["remaining"])), []).append(key)
    found: dict[_Panel, panels.Limits] = {}
    for (measured, _), those in shares.items():
        values = pd.concat([key.of(df)["mean"] for key in those])
        found |= dict.fromkeys(those, panels.limits(values, measured.metric, view.style))
    return found


def _panel(ax: Axes, key: _Panel, df: pd.DataFrame, ends: panels.Limits) -> None:
    means = key.of(df).set_index(["down", "across"])["mean"]
    square = means.unstack().reindex(index=list(key.down), columns=list(key.across))  # noqa: PD010  # no aggregation
    numbers = [[_number(value, key.measured.metric) for value in line] for line in square.to_numpy(dtype=float)]
    text: dict[str, Any] = {"annot": np.array(numbers), "annot_kws": {"fontsize": "small"}, "fmt": ""}
    colors: dict[str, Any] = {"cmap": _COLORS, "cbar": False, "vmin": ends.low, "vmax": ends.high, "linewidths": 0.5}
    sns.heatmap(square, ax=ax, xticklabels=True, yticklabels=True, **colors, **text)
    ax.set_xlabel(df["across_is"].iloc[0])
    ax.set_ylabel(df["down_is"].iloc[0] if pages.is_left(ax) else "")
    ax.tick_params(length=0, rotation=0)
    if max(map(len, key.across)) > _LONG:
        ax.tick_params(axis="x", rotation=90)
    ax.grid(visible=False)


def _number(value: float, metric: str) -> str:
    if np.isnan(value):
        return ""
    return f"{100 * value:.2f}" if metrics.of(metric).is_share else f"{value:.3g}"


def _choices(df: pd.DataFrame) -> list[str]:
    return list(df["panel"].cat.categories)


def _share(key: _Panel, df: pd.DataFrame) -> str:
    """Return the share of weights that the tickets of a panel have, in words."""
    remaining = key.of(df)["remaining"]
    near = f"no ticket near {levels.percent(key.wanted)} %"
    return near if remaining.empty else f"{_range(remaining)} % remaining"


def _range(remaining: pd.Series) -> str:
    if remaining.empty:
        return ""
    low, high = levels.percent(remaining.min()), levels.percent(remaining.max())
    return high if low == high else f"{low} to {high}"


def _note(df: pd.DataFrame, keys: Iterable[_Panel], ends: Mapping[_Panel, panels.Limits], view: View) -> str:
    measured = dict.fromkeys(key.measured.metric for key in keys)
    named = " or ".join(metrics.words(name) + (" in %" if metrics.of(name).is_share else "") for name in measured)
    says = f"Tickets: {named}, mean over {notes.seeds(df['n'])}; empty: no cell has got there."
    own = "Colours compare tickets of one size alone." if len(set(ends.values())) > 1 else ""
    lacking = [name for name in _choices(df) if name not in set(df["panel"])]
    asked = " or ".join(levels.percent(wanted) for wanted in view.remaining or _WANTED)
    left_out = f"Without {'; '.join(lacking)}: no level near {asked} %." if lacking else ""
    return notes.sentences(says, own, left_out, view.note)
