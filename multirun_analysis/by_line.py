"""Panels of lines, a colour and marker a choice: the pages that figures of tables with a column `line` share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multirun_analysis import notes, pages, panels, style
from multirun_analysis.view import View

Looks = Mapping[str, tuple[style.Color, str]]


class Panel(NamedTuple):
    """What a panel shows: rows of the table of this panel and these lines, of one kind of the figure's own."""

    panel: str
    kind: tuple[str, ...]
    lines: tuple[str, ...]

    def of(self, df: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of its panel and lines, of all kinds."""
        return df[df["panel"].eq(self.panel) & df["line"].isin(self.lines)]


def draw(
    df: pd.DataFrame,
    view: View,
    kinds: Callable[[str], Sequence[Sequence[tuple[str, ...]]]],
    panel: Callable[[Axes, Panel, Looks], None],
    note: str,
    *,
    lines: Sequence[str],
    theory: bool = False,
) -> list[Figure]:
    """Return the pages of a figure. Of many lines a panel has a part.

    df: with the categories `panel` and `line`. kinds: name of a panel -> rows of kinds that stand side by side. panel:
    draws one. note: what stands below. lines: the config columns of a line's name. theory: dotted lines are named.
    """
    parts = pages.parts([str(line) for line in df["line"].cat.categories])
    looks = {name: look for part in parts for name, look in zip(part, style.looks(part), strict=True)}

    def handle(line: str) -> Line2D:
        return Line2D([], [], color=looks[line][0], marker=looks[line][1], label=line)

    def legend(keys: Iterable[Panel]) -> list[tuple[str, list[panels.Entry]]]:
        shown = dict.fromkeys(line for key in keys for line in key.lines if line)
        known = [Line2D([], [], color="0.1", linestyle=":", label="theory")] if theory else []
        return [*panels.by_part(", ".join(lines), parts, shown, handle), ("", [*known])]

    rows = [
        [Panel(str(name), kind, tuple(part)) for kind in row]
        for name in df["panel"].cat.categories
        for row in kinds(str(name))
        for part in parts
        if (df["panel"].eq(name) & df["line"].isin(part)).any()
    ]
    with style.rc(view.style):
        keys, wide = pages.side_by_side(rows)
        drawn = []
        for sheet in pages.sheets(keys, wide, lambda keys: panels.named(legend(keys)), view.style):
            for key, ax in sheet.axes.items():
                panel(ax, key, looks)
            names = {key: [key.panel, pages.part_name(key.lines, parts)] for key in sheet.axes}
            pages.entitle(sheet, {key: panels.title(own, [view.row, ()]) for key, own in names.items()})
            panels.legend(sheet.figure, legend(sheet.axes), view.style)
            panels.note(sheet.figure, notes.sentences(sheet.says, note, view.note), view.style)
            drawn.append(sheet.figure)
    return drawn


def line(ax: Axes, rows: pd.DataFrame, y: str, look: tuple[style.Color, str], label: str) -> None:
    """Draw a line over the column `x`, with a marker at each of a few points."""
    color, marker = look
    ax.plot(rows["x"], rows[y], color=color, marker=marker if len(rows) <= _FEW else "", label=label)


# Points of a line that have markers.
_FEW = 12
