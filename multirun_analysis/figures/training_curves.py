"""Accuracy and loss against the iteration within a level (Frankle & Carbin 2019, figure 3)."""

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multirun_analysis import curves, panels, style
from multirun_analysis.load import Study, need_levels
from multirun_analysis.view import View

_SCORES: dict[str, dict[str, style.Dash]] = {
    "test accuracy": {"test_accuracy": "-"},
    "loss": {"train_loss": "-", "val_loss": (0, (4, 1.5))},
}
"""What stands on the y-axis of each row of panels: scores and their dashes."""

_FEW = 4
"""Up to so many choices have a column of panels each, with a line a level; more share a column a level."""


def table(study: Study, view: View) -> pd.DataFrame:
    """`curves.training_curves` of the tickets of a study, at about five levels."""
    need_levels(study)
    scores = [name for dashes in _SCORES.values() for name in dashes]
    return curves.training_curves(study.evaluations, view, scores)


def draw(df: pd.DataFrame, view: View) -> Figure:
    """Draw test accuracy above the losses, for each row of the view. `df` is `curves.training_curves(...)`.

    A column of panels for each choice and a line for each level, from dense (dark) to sparse; where there are
    more than four choices, a column for each level and a line for each choice.
    """
    df = df.assign(pruned=_percents(df))
    by_level = df["choice"].nunique() <= _FEW
    col, hue = ("choice", "pruned") if by_level else ("pruned", "choice")
    cols, lines = list(df[col].cat.categories), list(df[hue].cat.categories)
    color = dict(zip(lines, style.scale(len(lines)) if by_level else style.colors(lines), strict=True))
    choice = ", ".join((*view.hue, *view.col))
    heading = "weights remaining" if by_level else choice
    rows = [(row, score) for row in df["row"].cat.categories for score in _SCORES]
    n_legend, legend_width = panels.legend_size([*lines, heading])
    beyond = 0
    with style.rc():
        names = [f"{row} {score}" for row, score in rows]
        figure, axes = panels.grid(names, cols, legend_width=legend_width, width=2.6, wrap=False)
        for i, (row, y_label) in enumerate(rows):
            here = df[df["row"].eq(row) & df["score"].isin(list(_SCORES[y_label]))]
            values = [here.loc[here[col].eq(name), ["mean", "low", "high"]].to_numpy().ravel() for name in cols]
            ends = panels.share([panels.limits(each, y_label) for each in values])
            for j, name in enumerate(cols):
                drawn = _panel(axes[i, j], here[here[col].eq(name)], hue, color, _SCORES[y_label])
                beyond += panels.clip(axes[i, j], drawn, ends[j])
                axes[i, j].set_ylabel(y_label)
                title = panels.title([row, name], [view.row, [choice] if by_level and choice else []])
                axes[i, j].set_title(title, fontsize="small")
        for ax in axes[-1]:
            ax.set_xlabel("iteration within the level")
        panels.legend(figure, [(heading, _handles(color)), *_loss_legend(df)], columns=n_legend)
        panels.note(figure, _note(df, view, beyond))
    return figure


def _panel(
    ax: Axes,
    here: pd.DataFrame,
    hue: str,
    color: dict[str, style.Color],
    dashes: dict[str, style.Dash],
) -> list[Line2D]:
    drawn: list[Line2D] = []
    for pair, line in here.groupby([hue, "score"], observed=True):
        name, score = map(str, pair)
        if (line["n"] > 1).any():
            ax.fill_between(
                line["iteration"], line["low"], line["high"], color=color[name], alpha=0.12, linewidth=0,
                label=f"_{name}|{score}",
            )  # fmt: skip
        # A level evaluated once has a point and no line: the marker shows it.
        drawn += ax.plot(
            line["iteration"], line["mean"], color=color[name], linestyle=dashes[score],
            marker="o" if len(line) < 8 else "", markersize=2.5, label=f"{name}|{score}",
        )  # fmt: skip
    return drawn


def _handles(color: dict[str, style.Color]) -> list[Artist]:
    return [Line2D([], [], color=shade, label=name) for name, shade in color.items()]


def _loss_legend(df: pd.DataFrame) -> list[tuple[str, list[Artist]]]:
    if not df["score"].eq("val_loss").any():
        return []
    names = {"train_loss": "train", "val_loss": "validation"}
    dashes = _SCORES["loss"].items()
    handles = [Line2D([], [], color="0.3", linestyle=dash, label=names[score]) for score, dash in dashes]
    return [("loss", [*handles])]


def _percents(df: pd.DataFrame) -> pd.Series:
    """Name each level by its weights remaining, or by its number where those differ or have one name."""
    levels = df.groupby("level")["remaining"].agg(["min", "max"]).sort_index()
    alike = (levels["max"] - levels["min"] < 1e-3).all()
    names = [f"{panels.percent(value)} %" for value in levels["max"]]
    if not alike or len(set(names)) < len(names):
        names = [f"level {level}" for level in levels.index]
    names[0] = f"{names[0]} (dense)" if levels.index[0] == 0 else names[0]
    named = pd.Categorical(df["level"].map(dict(zip(levels.index, names, strict=True))), names, ordered=True)
    return pd.Series(named, index=df.index)


def _note(df: pd.DataFrame, view: View, beyond: int) -> str:
    most = df["n"].max()
    says = [
        f"Tickets. Mean over {most} seeds at most, band {curves.BANDS[view.band]}."
        if most > 1
        else "Tickets. One seed.",
        f"Triangles at the edge: {beyond} point{'s' if beyond > 1 else ''} beyond it." if beyond else "",
        view.note,
    ]
    return " ".join(filter(None, says))
