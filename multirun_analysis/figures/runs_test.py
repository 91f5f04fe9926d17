"""The runs test on bits of parameters, by kind of tensor, before training and after; dotted random numbers."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from multirun_analysis import by_line, notes, runs
from multirun_analysis.load import Study
from multirun_analysis.view import View


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `runs.table` of a study. Raises NothingToShow where no runs test was made."""
    return runs.table(study, view)


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a panel a kind of tensor against the ranges of bits, a line a choice, dashed before training.

    `df` is `runs.table(...)`.
    """

    def kinds(panel: str) -> list[list[tuple[str, ...]]]:
        return [[(kind,) for kind in sorted(df[df["panel"].eq(panel)]["kind"].unique())]]

    def panel(ax: Axes, key: by_line.Panel, looks: by_line.Looks) -> None:
        here = key.of(df)
        here = here[here["kind"].eq(key.kind[0])]
        for (name, moment), rows in here.groupby(["line", "moment"], observed=True, sort=True):
            color, marker = looks[str(name)]
            after = moment == runs.AFTER
            ax.plot(rows["x"], rows["mean"], linestyle="-" if after else (0, (4, 1.5)), color=color, marker=marker)
            if after:
                ax.plot(rows["x"], rows["largest"], marker, color=color, markerfacecolor="white", label="_largest")
        ax.axhline(runs.BY_CHANCE, color="0.1", linestyle=":", linewidth=0.9, label="_theory")
        ax.set_ylim(bottom=0)
        ax.xaxis.set_major_locator(FixedLocator(sorted(df["x"].unique())))
        ax.set_xlabel("first bit of the range")
        ax.set_ylabel(f"|Z| of runs, {key.kind[0]}")

    lines = [name for name in view.choice if name not in view.row]
    return by_line.draw(df, view, kinds, panel, _note(df), lines=lines, theory=True)


def _note(df: pd.DataFrame) -> str:
    return notes.sentences(
        notes.over_seeds(df["n"], "Means over the tensors of a kind and {}."),
        "Solid trained, dashed before training; hollow the largest |Z| of a trained tensor; dotted the mean of random"
        " numbers. Bit 0 is the lowest of the mantissa.",
    )
