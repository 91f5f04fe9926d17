"""Length scales before training: growth with depth, and the variance over layers; dotted what theory expects."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multirun_analysis import by_line, lengths, notes, panels
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
    """Draw a row of panels for each quantity, its mean beside the mean of its log, a line a choice.

    `df` is `lengths.table(...)`.
    """

    def kinds(panel: str) -> list[list[tuple[str, ...]]]:
        own = (
            df[df["panel"].eq(panel)][["quantity", "against"]].drop_duplicates().sort_values("quantity", kind="stable")
        )
        return [[(quantity, average, against) for average in (MEAN, LOG)] for quantity, against in own.to_numpy()]

    def panel(ax: Axes, key: by_line.Panel, looks: by_line.Looks) -> None:
        quantity, average, against = key.kind
        here = key.of(df)
        here = here[here["quantity"].eq(quantity) & here["average"].eq(average) & here["against"].eq(against)]
        _panel(ax, here, looks)
        ax.set_xlabel(against)
        ax.set_ylabel(_AXES[quantity, average])

    lines = [name for name in view.choice if name not in (*view.row, "model.depth")]
    return by_line.draw(df, view, kinds, panel, _note(df), lines=lines, theory=bool(df["least"].notna().any()))


def _panel(ax: Axes, here: pd.DataFrame, looks: by_line.Looks) -> None:
    for name, rows in here.groupby("line", observed=True, sort=True):
        rows = rows.sort_values("x")
        color = looks[str(name)][0]
        by_line.line(ax, rows, "value", looks[str(name)], str(name))
        if rows["low"].notna().any():
            panels.band(ax, rows, "x", color, 0.15, f"_{name}")
        for bound in ("least", "most"):
            ax.plot(rows["x"], rows[bound], color=color, linestyle=":", label="_theory")
    drawn = here[["value", "low", "high", "least", "most"]].to_numpy(dtype="float64")
    if (np.isfinite(drawn) & (drawn > 0)).any():
        ax.set_yscale("log")
        panels.powers(ax.yaxis)
    else:
        panels.vacant(ax)


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
