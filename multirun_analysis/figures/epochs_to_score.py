"""Epochs until networks are at their score (stop=at_accuracy): the median, and Kaplan & Meier's mean."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multirun_analysis import by_line, epochs, notes, panels
from multirun_analysis.load import Study
from multirun_analysis.view import View

_AXES = {"median": "epochs to the score, median", "mean": "epochs to the score,\nmean of those up to the last"}


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `epochs.table` of a study. Raises NothingToShow where no cell ends at a score."""
    return epochs.table(study, view)


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw the median beside the mean, a line a choice, against the depth or another number that varies.

    `df` is `epochs.table(...)`.
    """
    along = str(df["against"].iloc[0])
    apart = 0.02 * float(df["x"].max() - df["x"].min() or 1)  # of triangles, which would hide each other

    def panel(ax: Axes, key: by_line.Panel, looks: by_line.Looks) -> None:
        (which,) = key.kind
        for name, rows in key.of(df).groupby("line", observed=True, sort=True):
            look = looks[str(name)]
            by_line.line(ax, rows.assign(median=rows["median"].replace(np.inf, np.nan)), which, look, str(name))
            if which == "mean":
                panels.band(ax, rows, "x", look[0], 0.15, f"_{name}")
            else:
                beyond = rows[~np.isfinite(rows["median"])]
                x = beyond["x"] + (key.lines.index(str(name)) - (len(key.lines) - 1) / 2) * apart
                ax.plot(x, beyond["limit"], "^", color=look[0], markerfacecolor="white", markersize=6, label="_beyond")
        ax.set_ylim(bottom=0)
        ax.set_ylabel(_AXES[which])
        ax.set_xlabel(along)
        if not along:
            ax.set_xticks([])

    lines = [name for name in view.choice if name not in (*view.row, along)]
    view = replace(view, note="")  # it says that diverged networks are left out, and here they are not
    return by_line.draw(df, view, lambda _: [[("median",), ("mean",)]], panel, _note(df), lines=lines)


def _note(df: pd.DataFrame) -> str:
    n, missing = int(df["n"].sum()), int((df["n"] - df["there"]).sum())
    beyond = int((~np.isfinite(df["median"])).sum())
    return notes.sentences(
        notes.over_seeds(df["n"], "Over {}."),
        f"Not there when their level ended, or diverged: {missing} of {n} networks, of which all that is known is that"
        " they take longer."
        if missing
        else "",
        "Triangles: more than half were not there, so that the median is above." if beyond else "",
        "Means are Kaplan & Meier's up to the last epoch, with their 95 % interval.",
    )
