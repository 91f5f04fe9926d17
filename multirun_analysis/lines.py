"""Lines against the weights remaining: the picture that several figures share, of one metric or of a few."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ltsweep.schema import TICKET
from multirun_analysis import curves, metrics, notes, pages, panels, style
from multirun_analysis.load import Study, check_levels
from multirun_analysis.looks import BEHIND, GREY, Look
from multirun_analysis.metrics import Measured
from multirun_analysis.view import View


def table(study: Study, view: View, names: Sequence[str]) -> pd.DataFrame:
    """Return `curves.accuracy_vs_remaining` of a few metrics, one below the other.

    Raises NothingToShow where no level has been finished or a metric has no value in this study.
    """
    check_levels(study)
    for name in names:
        curves.check_metric(study.levels, name)
    views = [dataclasses.replace(view, metric=name) for name in names]
    return pd.concat([curves.accuracy_vs_remaining(study.levels, each) for each in views], ignore_index=True)


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a line a choice, tickets solid, controls dashed; a band over seeds; dotted the dense networks.

    `df` is `table(...)`; each metric, and each scale of one, has a row of panels for each row of the view. Of many
    choices a panel has a part, with the other choices in grey behind it. A hollow marker is a mean over fewer cells
    than the line has elsewhere; a failed or diverged cell is a thin line of its own that ends in a cross; a triangle at
    the edge of a panel is a point beyond it.
    """
    look = Look(df, view)
    with style.rc(view.style):
        keys, wide = pages.side_by_side(_panels(df, look))
        shown = [key for key in keys if key is not None]
        ends: dict[_Panel, panels.Limits] = {}
        for measured in metrics.measured(df):
            those = [key for key in shown if key.measured == measured]
            full = [key for key in those if _has_values(key.of(df))] or those
            fitted = panels.share([_limits(key.of(df), measured.metric, view) for key in full])
            ends |= dict.fromkeys(those, fitted[0]) | dict(zip(full, fitted, strict=True))
        sheets = pages.sheets(keys, wide, lambda keys: panels.named(_legend(keys, look)), view.style)
        return [_page(df, sheet, look, ends, view) for sheet in sheets]


def _page(
    df: pd.DataFrame, sheet: pages.Sheet["_Panel"], look: Look, ends: Mapping["_Panel", panels.Limits], view: View
) -> Figure:
    beyond = 0
    for key, ax in sheet.axes.items():
        here = key.of(df)
        drawn = _panel(ax, here, look)
        if len(look.parts) > 1:
            _others(ax, key.beside(df))
        panels.percent_axis(ax, here["remaining"], view.style)
        beyond += panels.clip(ax, drawn, ends[key])
        if not _has_values(here):
            panels.vacant(ax)
        ax.set_xlabel("weights remaining (%)")
        ax.set_ylabel(metrics.on_axis(key.measured.metric))
    named = {key: [key.row, key.col, pages.part_name(key.hues, look.parts)] for key in sheet.axes}
    pages.entitle(sheet, {key: panels.title(names, [view.row, view.col, ()]) for key, names in named.items()})
    panels.legend(sheet.figure, _legend(sheet.axes, look), view.style)
    own = "The axes of panels differ." if _differ(sheet.axes, ends) else ""
    panels.note(sheet.figure, notes.sentences(sheet.says, _note(df, view, beyond), own, view.note), view.style)
    return sheet.figure


def _differ(keys: Iterable["_Panel"], ends: Mapping["_Panel", panels.Limits]) -> bool:
    """Return whether panels of one metric and scale have different axes."""
    of: dict[Measured, set[panels.Limits]] = {}
    for key in keys:
        of.setdefault(key.measured, set()).add(ends[key])
    return any(len(found) > 1 for found in of.values())


def _legend(keys: Iterable["_Panel"], look: Look) -> list[tuple[str, list[panels.Entry]]]:
    return look.legend([hue for key in keys for hue in key.hues])


class _Panel(NamedTuple):
    """What a panel shows: a metric of some choices, in a row and column of the view."""

    row: str
    col: str
    measured: Measured
    hues: tuple[str, ...]

    def of(self, df: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the table that are drawn in this panel."""
        return df[self._place(df) & df["hue"].isin(self.hues)]

    def beside(self, df: pd.DataFrame) -> pd.DataFrame:
        """Return the means of the tickets of the choices that other parts of this panel draw."""
        return df[self._place(df) & ~df["hue"].isin(self.hues) & df["arm"].eq(TICKET) & df["cell"].eq("")]

    def _place(self, df: pd.DataFrame) -> "pd.Series[bool]":
        return df["row"].eq(self.row) & df["col"].eq(self.col) & self.measured.holds(df)


def _panels(df: pd.DataFrame, look: Look) -> list[list[_Panel]]:
    """Return the rows of panels: columns are those of the view, or else the metrics.

    A row of the view has no panels of a metric that only cells of other rows have, and a part of its choices none of
    what only other parts have.
    """
    rows, cols = df["row"].cat.categories, df["col"].cat.categories
    every = metrics.measured(df)
    places = []
    for row, hues in itertools.product(rows, look.parts):
        here = df[df["row"].eq(row)]
        own = metrics.measured(here[here["hue"].isin(hues)]) or metrics.measured(here) or every
        places.append((row, hues, own))
    if len(cols) == 1 and len({len(each) for _, _, each in places}) == 1:
        return [[_Panel(row, cols[0], one, hues) for one in each] for row, hues, each in places]
    return [[_Panel(row, col, one, hues) for col in cols] for row, hues, each in places for one in each]


def _has_values(here: pd.DataFrame) -> bool:
    return bool(here["mean"].notna().any())


def _limits(here: pd.DataFrame, metric: str, view: View) -> panels.Limits:
    return panels.limits([*here["mean"], *here["low"], *here["high"]], metric, view.style)


def _others(ax: Axes, means: pd.DataFrame) -> None:
    """Draw the choices of other panels thin and grey, behind."""
    for _, line in means.groupby("hue", observed=True):
        ax.plot(line["remaining"], line["mean"], color=BEHIND, linewidth=0.6, zorder=0.9, label="_other")


def _panel(ax: Axes, here: pd.DataFrame, look: Look) -> list[Line2D]:
    """Draw one panel, and return its lines of data, which may have to be clipped."""
    means = here[here["cell"].eq("")]
    _dense(ax, means[means["level"].eq(0)], look)
    drawn: list[Line2D] = []
    for pair, line in means.groupby(["hue", "arm"], observed=True):
        hue, arm = map(str, pair)
        name = look.name(hue, arm)
        color = look.color[name]
        if (line["n"] > 1).any():
            _spread(ax, line, color, f"_{hue}|{arm}", look)
        dash, marker = look.dash[arm], look.marker[name]
        edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.4}
        x, y = line["remaining"], line["mean"]
        drawn += ax.plot(x, y, color=color, linestyle=dash, marker=marker, label=f"{hue}|{arm}", **edge)
        fewer = line[line["n"] < line["cells"]]
        if len(fewer):
            x, y = fewer["remaining"], fewer["mean"]
            ax.plot(x, y, marker or "o", color=color, markerfacecolor="white", label="_fewer")
    for triple, line in here[here["cell"].ne("")].groupby(["cell", "hue", "arm"], observed=True):
        _, hue, arm = map(str, triple)
        drawn += _stopped(ax, line, look.color[look.name(hue, arm)], look.dash[arm])
    return drawn


def _spread(ax: Axes, line: pd.DataFrame, color: style.Color, label: str, look: Look) -> None:
    """Draw the band of a line, or a bar at each of its levels."""
    if look.bars:
        x, mean = line["remaining"], line["mean"]
        away = (mean - line["low"], line["high"] - mean)
        ax.errorbar(x, mean, away, fmt="none", ecolor=color, elinewidth=0.8, capsize=2, label=label)
    else:
        panels.band(ax, line, "remaining", color, look.band_alpha, label)


def _dense(ax: Axes, dense: pd.DataFrame, look: Look) -> None:
    """Draw the scores of the dense networks as dotted lines across the panel."""
    if look.few:
        for hue, arm, value in dense[["hue", "arm", "mean"]].itertuples(index=False):
            color = look.color[look.name(hue, arm)]
            ax.axhline(value, color=color, linestyle=":", linewidth=0.9, label="_dense")
    elif len(dense):
        ax.axhline(dense["mean"].median(), color=GREY, linestyle=":", linewidth=0.9, label="_dense")


def _stopped(ax: Axes, line: pd.DataFrame, color: style.Color, dash: style.Dash) -> list[Line2D]:
    """Draw a failed or diverged cell: a thin line to its last finite value, and a cross there. Return both."""
    finite = line.dropna(subset="mean")
    if finite.empty:
        return []
    x, y = finite["remaining"], finite["mean"]
    drawn = ax.plot(x, y, color=color, linestyle=dash, linewidth=0.6, label="_stopped")
    return drawn + ax.plot(x.iloc[-1:], y.iloc[-1:], "x", color=color, label="_stopped_at")


def _note(df: pd.DataFrame, view: View, beyond: int) -> str:
    means = df[df["cell"].eq("")]  # of all metrics; those of one level are of equally many cells
    band = f"{'bars' if view.bars else 'band'} {curves.BANDS[view.band]}"
    return notes.sentences(
        notes.over_seeds(means["cells"], f"Mean over {{}}, {band}.") if len(means) else "",
        "Hollow: fewer seeds." if (means["n"] < means["cells"]).any() else "",
        "Thin with a cross: a failed or diverged cell, in no mean." if df["cell"].ne("").any() else "",
        notes.beyond(beyond),
    )
