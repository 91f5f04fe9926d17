"""Accuracy and loss against the iteration within a level (Frankle & Carbin 2019, figure 3)."""

from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multirun_analysis import curves, levels, notes, panels, style
from multirun_analysis.load import Study, check_levels
from multirun_analysis.view import View

# Name of the y-axis of each row of panels -> its scores and their dashes.
_SCORES: dict[str, dict[str, style.Dash]] = {
    "test accuracy": {"test_accuracy": "-"},
    "loss": {"train_loss": "-", "val_loss": (0, (4, 1.5))},
}

# Choices that have a column of panels each, with a line a level; where there are more, each level has a column.
_FEW = 4


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `curves.training_curves` of the tickets of a study, at about five levels."""
    check_levels(study, counted=True)
    scores = [name for dashes in _SCORES.values() for name in dashes]
    return curves.training_curves(study.evaluations, view, scores)


def draw(df: pd.DataFrame, view: View) -> Figure:
    """Draw test accuracy above the losses, for each row of the view. `df` is `curves.training_curves(...)`.

    A column of panels for each choice and a line for each level, from dense (dark) to sparse; where there are
    more than four choices, a column for each level and a line for each choice.
    """
    df = df.assign(pruned=levels.level_names(df))
    by_level = df["choice"].nunique() <= _FEW
    col, hue = ("choice", "pruned") if by_level else ("pruned", "choice")
    cols, lines = list(df[col].cat.categories), list(df[hue].cat.categories)
    many = [(color, "o") for color in style.scale(len(lines))] if by_level else style.looks(lines)
    looks = dict(zip(lines, many, strict=True))
    choice = ", ".join((*view.hue, *view.col))
    heading = "weights remaining" if by_level else choice
    rows = [(row, score) for row in df["row"].cat.categories for score in _SCORES]
    beyond = 0
    with style.rc(view.style):
        names = [*lines, heading, *(["training loss", "validation loss"] if _validated(df) else [])]
        figure, axes = panels.grid(rows, cols, names, view.style, width=2.6, wrap=False)
        for i, (row, y_label) in enumerate(rows):
            here = df[df["row"].eq(row) & df["score"].isin(list(_SCORES[y_label]))]
            values = [here.loc[here[col].eq(name), ["mean", "low", "high"]].to_numpy().ravel() for name in cols]
            ends = panels.share([panels.limits(each, y_label) for each in values])
            for j, name in enumerate(cols):
                drawn = _panel(axes[i, j], here[here[col].eq(name)], hue, looks, _SCORES[y_label])
                beyond += panels.clip(axes[i, j], drawn, ends[j])
                axes[i, j].set_ylabel(y_label if j == 0 else "")
                title = panels.title([row, name], [view.row, [choice] if by_level and choice else []])
                axes[i, j].set_title(title, fontsize="small")
        for ax in axes[-1]:
            ax.set_xlabel("iteration")
        panels.legend(figure, [(heading, _handles(looks)), *_loss_legend(df)], view.style)
        panels.note(figure, _note(df, view, beyond))
    return figure


def _panel(
    ax: Axes,
    here: pd.DataFrame,
    hue: str,
    looks: dict[str, tuple[style.Color, str]],
    dashes: dict[str, style.Dash],
) -> list[Line2D]:
    """Draw one panel, and return its lines of data, which may have to be clipped."""
    drawn: list[Line2D] = []
    for pair, line in here.groupby([hue, "score"], observed=True):
        name, score = map(str, pair)
        color, marker = looks[name]
        if (line["n"] > 1).any():
            panels.band(ax, line, "iteration", color, 0.12, f"_{name}|{score}")
        # A level evaluated once has a point and no line: the marker shows it.
        marks: dict[str, Any] = {"marker": marker, "markersize": 3.0, "markevery": 1 + len(line) // 8}
        x, y, label = line["iteration"], line["mean"], f"{name}|{score}"
        drawn += ax.plot(x, y, color=color, linestyle=dashes[score], label=label, **marks)
    return drawn


def _validated(df: pd.DataFrame) -> bool:
    return bool(df["score"].eq("val_loss").any())


def _handles(looks: dict[str, tuple[style.Color, str]]) -> list[Artist]:
    return [
        Line2D([], [], color=color, marker=marker, markersize=3.0, label=name)
        for name, (color, marker) in looks.items()
    ]


def _loss_legend(df: pd.DataFrame) -> list[tuple[str, list[Artist]]]:
    if not _validated(df):
        return []
    names = {"train_loss": "training loss", "val_loss": "validation loss"}
    dashes = _SCORES["loss"].items()
    handles = [Line2D([], [], color="0.3", linestyle=dash, label=names[score]) for score, dash in dashes]
    return [("", [*handles])]


def _note(df: pd.DataFrame, view: View, beyond: int) -> str:
    most = df["n"].max()
    several = f"Mean over {{}} at most, band {curves.BANDS[view.band]}."
    return notes.sentences("Tickets.", notes.over_seeds(pd.Series([most]), several), notes.beyond(beyond), view.note)
