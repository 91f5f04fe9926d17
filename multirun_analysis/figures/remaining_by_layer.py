"""The weights that remain of each layer, level by level: which layers pruning takes them from."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from multirun_analysis import curves, layers, levels, notes, pages, panels, style
from multirun_analysis.load import Study, check_levels
from multirun_analysis.view import View

# The colour of the whole network, and its dashes.
_WHOLE: dict[str, Any] = {"color": (0.2, 0.2, 0.2), "marker": "", "linestyle": "--"}


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `layers.by_layer` of a study, with layers whose lines would hide each other as one."""
    check_levels(study, counted=True)
    return layers.together(layers.by_layer(study.levels, view))


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a panel for each choice that prunes in its own way, a line for each layer, dashed the whole network.

    `df` is `table(...)`. Of many layers a panel has a part.
    """
    names = list(df["layer"].cat.categories)
    whole = [name for name in names if name == layers.WHOLE]
    parts = pages.parts([name for name in names if name not in whole] or names)
    look: dict[str, dict[str, Any]] = {
        name: {"color": color, "marker": marker, "linestyle": "-"}
        for part in parts
        for name, (color, marker) in zip(part, style.looks(part), strict=True)
    }
    look |= dict.fromkeys(whole, _WHOLE)

    def legend(keys: Iterable[tuple[str, tuple[str, ...]]]) -> list[tuple[str, list[panels.Entry]]]:
        shown = [name for _, part in keys for name in part]
        by_part = panels.by_part("layer", parts, shown, lambda name: Line2D([], [], label=name, **look[name]))
        return [*by_part, ("", [Line2D([], [], label=name, **look[name]) for name in whole])]

    rows = [[(choice, tuple(part)) for part in parts] for choice in df["choice"].cat.categories]
    with style.rc(view.style):
        keys, wide = pages.side_by_side(rows)
        drawn = []
        for sheet in pages.sheets(keys, wide, lambda keys: panels.named(legend(keys)), view.style):
            for (choice, part), ax in sheet.axes.items():
                here = df[df["choice"].eq(choice) & df["layer"].isin([*part, *whole])]
                _panel(ax, here, look)
            titles = {key: panels.title([key[0], pages.part_name(key[1], parts)], [(), ()]) for key in sheet.axes}
            pages.entitle(sheet, titles)
            panels.legend(sheet.figure, legend(sheet.axes), view.style)
            panels.note(sheet.figure, notes.sentences(sheet.says, _note(df, view)), view.style)
            drawn.append(sheet.figure)
    return drawn


def _panel(ax: Axes, here: pd.DataFrame, look: Mapping[str, Mapping[str, Any]]) -> None:
    hidden = layers.some_coincide(here)
    for i, (layer, line) in enumerate(here.groupby("layer", observed=True)):
        name = str(layer)
        marks: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.4}
        if hidden:  # markers at different levels show that there are several lines
            marks |= {"markevery": (i % 3, 3)}
        ax.plot(line["level"], line["mean"], label=name, **look[name], **marks)
        if (line["high"] > line["low"]).any():
            panels.band(ax, line, "level", look[name]["color"], 0.15, f"_{name}")
    _axes(ax)


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
    several = any("," in name or "(" in name for name in df["layer"].cat.categories)
    one = "Layers named together are within 2 % of each other." if several else ""
    return notes.sentences("Tickets.", one, spread, view.note)
