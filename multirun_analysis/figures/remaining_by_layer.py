"""What remains of each layer, level by level: where the weights go that pruning removes."""

import dataclasses

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from multirun_analysis import curves, layers, levels, panels, style
from multirun_analysis.load import Study, need_levels
from multirun_analysis.view import View, first

# So many panels are drawn.
_MOST = 12


def table(study: Study, view: View) -> pd.DataFrame:
    """`layers.by_layer` of a study."""
    need_levels(study, counted=True)
    return layers.by_layer(study.levels, view)


def draw(df: pd.DataFrame, view: View) -> Figure:
    """Draw a panel for each choice that prunes in its own way, a line for each layer, dashed the whole network.

    `df` is `layers.by_layer(...)`.
    """
    df, note = first(df, "choice", _MOST)
    choices, names = list(df["choice"].cat.categories), list(df["layer"].cat.categories)
    looks = dict(zip(names, [*style.looks(names[:-1]), ((0.2, 0.2, 0.2), "")], strict=True))
    color = {name: color for name, (color, _) in looks.items()}
    marker = {name: marker for name, (_, marker) in looks.items()}
    dash: dict[str, style.Dash] = dict.fromkeys(names, "-") | {layers.WHOLE: "--"}
    with style.rc(view.style):
        figure, axes = panels.grid([""], choices, [*names, "layer"], view.style)
        for ax, choice in zip(axes.flat, choices, strict=True):
            for layer, line in df[df["choice"].eq(choice)].groupby("layer", observed=True):
                name = str(layer)
                ax.plot(
                    line["level"],
                    line["mean"],
                    color=color[name],
                    marker=marker[name],
                    linestyle=dash[name],
                    markeredgecolor="white",
                    markeredgewidth=0.4,
                    label=name,
                )
                if (line["high"] > line["low"]).any():
                    ax.fill_between(
                        line["level"],
                        line["low"],
                        line["high"],
                        color=color[name],
                        alpha=0.15,
                        linewidth=0,
                        label=f"_{name}",
                    )
            _axes(ax)
            ax.set_title(choice)
        handles = [
            Line2D([], [], color=color[name], marker=marker[name], linestyle=dash[name], label=name) for name in names
        ]
        panels.legend(figure, [("layer", handles)], view.style)
        panels.note(figure, _note(df, dataclasses.replace(view, note=" ".join(filter(None, [note, view.note])))))
    return figure


def _axes(ax: Axes) -> None:
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: levels.percent(value)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel("level")
    ax.set_ylabel("weights remaining (%)")


def _note(df: pd.DataFrame, view: View) -> str:
    spread = f"Band {curves.BANDS[view.band]} over seeds." if (df["high"] > df["low"]).any() else ""
    return " ".join(filter(None, ["Tickets.", spread, view.note]))
