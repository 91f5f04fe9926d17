"""Length scales before training: growth with depth, and the variance over layers; dotted what theory expects."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from multirun_analysis import lengths, notes, pages, panels, style
from multirun_analysis.lengths import GROWTH, LOG, MEAN
from multirun_analysis.load import Study
from multirun_analysis.view import View

# Words of an axis, for a quantity and a way to average it.
_AXES = {
    (GROWTH, MEAN): "mean of M / M₀",
    (GROWTH, LOG): "exp of the mean of log(M / M₀)",
    (lengths.VARIANCE, MEAN): "mean of the variance of M\nover layers, / M₀²",
    (lengths.VARIANCE, LOG): "exp of the mean of the log of\nthe variance of M over layers, / M₀²",
}


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `lengths.table` of a study. Raises NothingToShow where no length scales were measured."""
    return lengths.table(study, view)


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a panel for each quantity, way to average and axis, a line a choice.

    `df` is `lengths.table(...)`. Of many choices a panel has a part.
    """
    parts = pages.parts([str(line) for line in df["line"].cat.categories])
    look = {name: one for part in parts for name, one in zip(part, style.looks(part), strict=True)}
    heading = ", ".join(name for name in view.choice if name not in (*view.row, "model.depth"))

    def legend(keys: Iterable[_Panel]) -> list[tuple[str, list[panels.Entry]]]:
        def handle(line: str) -> Line2D:
            return Line2D([], [], color=look[line][0], marker=look[line][1], label=line)

        shown = dict.fromkeys(line for key in keys for line in key.lines if line)
        known = [Line2D([], [], color="0.1", linestyle=":", label="theory")] if df["least"].notna().any() else []
        return [*panels.by_part(heading, parts, shown, handle), ("", [*known])]

    with style.rc(view.style):
        keys, wide = pages.side_by_side(_panels(df, parts))
        drawn = []
        for sheet in pages.sheets(keys, wide, lambda keys: panels.named(legend(keys)), view.style):
            for key, ax in sheet.axes.items():
                _draw_panel(ax, key.of(df), key, look)
            titles = {
                key: panels.title([key.panel, pages.part_name(key.lines, parts)], [view.row, ()]) for key in sheet.axes
            }
            pages.entitle(sheet, titles)
            panels.legend(sheet.figure, legend(sheet.axes), view.style)
            panels.note(sheet.figure, notes.sentences(sheet.says, _note(df), view.note), view.style)
            drawn.append(sheet.figure)
    return drawn


class _Panel(NamedTuple):
    panel: str
    quantity: str
    against: str
    average: str
    lines: tuple[str, ...]

    def of(self, df: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the table that are drawn in this panel."""
        own = df["panel"].eq(self.panel) & df["quantity"].eq(self.quantity) & df["against"].eq(self.against)
        return df[own & df["average"].eq(self.average) & df["line"].isin(self.lines)]


def _panels(df: pd.DataFrame, parts: list[list[str]]) -> list[list[_Panel]]:
    """Return a row of panels for each panel of the view, quantity and part of the lines: mean, and mean of the log."""
    there = df[["panel", "quantity", "against"]].drop_duplicates().sort_values(["panel", "quantity"], kind="stable")
    return [
        [_Panel(str(panel), str(quantity), str(against), average, tuple(part)) for average in (MEAN, LOG)]
        for panel, quantity, against in there.itertuples(index=False)
        for part in parts
        if (df["panel"].eq(panel) & df["line"].isin(part)).any()
    ]


def _draw_panel(ax: Axes, here: pd.DataFrame, key: _Panel, look: dict[str, tuple[style.Color, str]]) -> None:
    for line, rows in here.groupby("line", observed=True, sort=True):
        color, marker = look[str(line)]
        rows = rows.sort_values("x")
        few = len(rows) <= 12
        ax.plot(rows["x"], rows["value"], color=color, marker=marker if few else "", label=str(line))
        if rows["low"].notna().any():
            panels.band(ax, rows, "x", color, 0.15, f"_{line}")
        for bound in ("least", "most"):
            ax.plot(rows["x"], rows[bound], color=color, linestyle=":", label="_theory")
    drawn = here[["value", "low", "high", "least", "most"]].to_numpy(dtype="float64")
    if (np.isfinite(drawn) & (drawn > 0)).any():
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        panels.vacant(ax)
    ax.set_xlabel(key.against)
    ax.set_ylabel(_AXES[key.quantity, key.average])


def _note(df: pd.DataFrame) -> str:
    ends = df[df["quantity"].eq(GROWTH)]
    last = ends[ends["average"].eq(LOG)]
    dead = int(last.groupby(["panel", "line", "against"], observed=True)["dead"].max().sum())
    return notes.sentences(
        notes.over_seeds(df["n"], "Averages over {}."),
        "M is heavy-tailed: where its mean leaves the dotted expectation, the networks are too few. Band: the"
        " 95 % confidence interval of the mean of the log.",
        f"Dead, without any signal, and in no log: up to {dead} networks." if dead else "",
        "Of residual networks M₀ is that of the first layer, and theory gives two bounds."
        if df["against"].eq(lengths.ETA).any()
        else "",
    )
