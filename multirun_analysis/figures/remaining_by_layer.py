"""The weights that remain of each layer, level by level: which layers pruning takes them from."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from multirun_analysis import curves, layers, levels, notes, panels, style
from multirun_analysis.load import Study, check_levels
from multirun_analysis.view import View, first

# Panels that are drawn.
_MOST = 12


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `layers.by_layer` of a study."""
    check_levels(study, counted=True)
    return layers.by_layer(study.levels, view)


def draw(df: pd.DataFrame, view: View) -> Figure:
    """Draw a panel for each choice that prunes in its own way, a line for each layer, dashed the whole network.

    `df` is `layers.by_layer(...)`.
    """
    df, unseen = first(df, "choice", _MOST)
    choices, names = list(df["choice"].cat.categories), list(df["layer"].cat.categories)
    looks = dict(zip(names, [*style.looks(names[:-1]), ((0.2, 0.2, 0.2), "")], strict=True))
    look: dict[str, dict[str, Any]] = {
        name: {"color": color, "marker": marker, "linestyle": "--" if name == layers.WHOLE else "-"}
        for name, (color, marker) in looks.items()
    }
    with style.rc(view.style):
        figure, axes = panels.grid([""], choices, [*names, "layer"], view.style)
        for ax, choice in zip(axes.flat, choices, strict=True):
            for layer, line in df[df["choice"].eq(choice)].groupby("layer", observed=True):
                name = str(layer)
                edge = {"markeredgecolor": "white", "markeredgewidth": 0.4}
                ax.plot(line["level"], line["mean"], label=name, **look[name], **edge)
                if (line["high"] > line["low"]).any():
                    panels.band(ax, line, "level", look[name]["color"], 0.15, f"_{name}")
            _axes(ax)
            ax.set_title(choice)
        handles = [Line2D([], [], label=name, **look[name]) for name in names]
        panels.legend(figure, [("layer", handles)], view.style)
        panels.note(figure, _note(df, view, unseen))
    return figure


def _axes(ax: Axes) -> None:
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: levels.percent(value)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel("level")
    ax.set_ylabel("weights remaining (%)")


def _note(df: pd.DataFrame, view: View, unseen: str) -> str:
    spread = f"Band {curves.BANDS[view.band]} over seeds." if (df["high"] > df["low"]).any() else ""
    return notes.sentences("Tickets.", spread, unseen, view.note)
