"""The epochs to a score of each network against its length scale before training: does the one predict the other?"""

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multirun_analysis import by_line, epochs, panels
from multirun_analysis.load import Study
from multirun_analysis.view import View

# Lengths of the last layer over that of the input, which count as steady in the small print.
_STEADY = (0.01, 100.0)


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `epochs.by_length` of a study. Raises NothingToShow where no network has both."""
    return epochs.by_length(study, view)


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a point a network; triangles those that were not there. `df` is `epochs.by_length(...)`."""

    def panel(ax: Axes, key: by_line.Panel, looks: by_line.Looks) -> None:
        for name, rows in key.of(df).groupby("line", observed=True, sort=True):
            color, marker = looks[str(name)]
            there, beyond = rows[rows["there"]], rows[~rows["there"]]
            ax.plot(there["x"], there["epochs"], marker, color=color, alpha=0.7, label=str(name))
            ax.plot(
                beyond["x"], beyond["epochs"], "^", color=color, markerfacecolor="white", alpha=0.7, label="_beyond"
            )
        ax.set_xscale("log")
        panels.powers(ax.xaxis)
        ax.axvline(1, color="0.1", linestyle=":", linewidth=0.9)
        ax.set_ylim(bottom=0)
        ax.set_xlabel("length of the last layer over that of the input")
        ax.set_ylabel("epochs to the score")

    lines = [name for name in view.choice if name not in (*view.row, "model.depth")]
    view = replace(view, note="")  # it says that diverged networks are left out, and here they are not
    return by_line.draw(df, view, lambda _: [[("",)]], panel, _note(df), lines=lines)


def _note(df: pd.DataFrame) -> str:
    steady = df["x"].between(*_STEADY)
    said = [
        f"{int(df[those]['there'].sum())} of {int(those.sum())} {what}"
        for those, what in ((steady, "within a factor of 100"), (~steady, "beyond it"))
        if those.any()
    ]
    triangles = "triangles those that were not there when their level ended, or diverged"
    return f"A point a network, {triangles}. There were: {', '.join(said)}."
