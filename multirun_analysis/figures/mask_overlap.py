"""The weights that tickets have in common: between seeds, initializations, methods, and by chance."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multirun_analysis import densities, notes, overlap, pages, panels, style
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, check_levels
from multirun_analysis.view import View

# Dashes of what chance gives.
_CHANCE = (0, (1.2, 1.2))


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `overlap.mask_overlap` of a study. Raises NothingToShow where no two cells have masks to compare."""
    check_levels(study, counted=True)
    found = overlap.mask_overlap(study, view)
    if found.empty:
        raise NothingToShow(
            notes.sentences(
                "no two cells of the same layers that differ in one thing alone, a seed or a choice, have masks of the"
                " same number of weights on the disk",
                *densities.left_out(found)[:1],
            )
        )
    return found


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw the Jaccard index against the weights remaining, solid, and dotted what chance gives.

    `df` is `table(...)`. Each axis of the grid has panels of its own; of many lines a panel has a part.
    """
    look = _Look(df)
    top = 1.08 * float(df[["high", "expected"]].max().max())
    with style.rc(view.style):
        keys = look.panels
        _, wide = pages.side_by_side([keys])
        drawn = []
        for sheet in pages.sheets(keys, wide, lambda keys: panels.named(look.legend(keys)), view.style):
            for key, ax in sheet.axes.items():
                here = df[df["axis"].eq(key.axis) & df["panel"].eq(key.panel) & df["line"].isin(list(key.lines))]
                _panel(ax, here, look)
                panels.percent_axis(ax, here["remaining"], view.style)
                ax.set_ylim(0.0, top)
                ax.set_xlabel("weights remaining (%)")
                ax.set_ylabel("Jaccard index of masks")
            pages.entitle(sheet, {key: look.title(key) for key in sheet.axes})
            panels.legend(sheet.figure, look.legend(sheet.axes), view.style)
            panels.note(sheet.figure, notes.sentences(sheet.says, _note(df, view)), view.style)
            drawn.append(sheet.figure)
    return drawn


class _Panel(NamedTuple):
    """What a panel shows: an axis of the grid, some of its pairs or a setting, and the lines there."""

    axis: str
    panel: str
    lines: tuple[str, ...]


class _Look:
    """The panels, and the colour and marker of each line; the lines of an axis have them for themselves."""

    def __init__(self, df: pd.DataFrame) -> None:
        there = df[["axis", "panel", "line"]].drop_duplicates()
        self.panels: list[_Panel] = []
        self.parts: dict[str, list[list[str]]] = {}
        self.of: dict[tuple[str, str], tuple[style.Color, str]] = {}
        for axis, rows in there.groupby("axis", observed=True):
            name = str(axis)
            self.parts[name] = pages.parts(list(rows["line"].cat.remove_unused_categories().cat.categories))
            for part in self.parts[name]:
                self.of |= {(name, line): own for line, own in zip(part, style.looks(part), strict=True)}
            for panel, those in rows.groupby("panel", observed=True):
                lines = set(those["line"])
                shown = [tuple(line for line in part if line in lines) for part in self.parts[name]]
                self.panels += [_Panel(name, str(panel), part) for part in shown if part]

    def title(self, key: _Panel) -> str:
        """Return the title of a panel: its axis, whose values are compared, and what else is equal."""
        parts = self.parts[key.axis]
        part = next(pages.part_name(part, parts) for part in parts if set(key.lines) <= set(part))
        return pages.BETWEEN.join(filter(None, [f"another {key.axis}", key.panel, part]))

    def legend(self, keys: Iterable[_Panel]) -> list[tuple[str, list[panels.Entry]]]:
        """Return the sections of the legend of some panels."""
        sections: list[tuple[str, list[panels.Entry]]] = []
        lines: dict[tuple[str, str], None] = {}
        for key in keys:
            lines |= dict.fromkeys((key.axis, line) for line in key.lines)
        for axis in dict.fromkeys(axis for axis, _ in lines):
            own = [self._handle(axis, line) for other, line in lines if other == axis and line]
            sections.append((f"another {axis}", own))
        dotted: list[Line2D] = [Line2D([], [], color=self.of[line][0], linestyle=_CHANCE) for line in lines]
        return [*sections, ("", [panels.several(dotted, "by chance")])]

    def _handle(self, axis: str, line: str) -> panels.Entry:
        color, marker = self.of[axis, line]
        return Line2D([], [], color=color, marker=marker, label=line)


def _panel(ax: Axes, here: pd.DataFrame, look: _Look) -> None:
    for (axis, line), rows in here.groupby(["axis", "line"], observed=True):
        color, marker = look.of[str(axis), str(line)]
        own: dict[str, Any] = {"color": color, "markeredgecolor": "white", "markeredgewidth": 0.4}
        ax.plot(rows["remaining"], rows["mean"], marker=marker, label=line, **own)
        ax.plot(rows["remaining"], rows["expected"], linestyle=_CHANCE, color=color, label="_chance")
        if (rows["high"] > rows["low"]).any():
            panels.band(ax, rows, "remaining", color, 0.15, f"_{line}")


def _note(df: pd.DataFrame, view: View) -> str:
    shown, choices = int(df["shown"].iloc[0]), int(df["choices"].iloc[0])
    some = f"{shown} of {choices} choices, the first that have masks; --where chooses." if shown < choices else ""
    return notes.sentences(
        "Of the weights that remain in either of two tickets, the part that remains in both; dotted, for as many"
        " weights of each layer at random places. The two tickets differ in what the title names and in nothing else.",
        "Band from the least to the greatest pair of at most three seeds." if (df["high"] > df["low"]).any() else "",
        some,
        notes.broken(densities.left_out(df)),
        view.note,
    )
