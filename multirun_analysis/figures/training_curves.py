"""The headline and the loss against the iteration within a level (Frankle & Carbin 2019, figure 3)."""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multirun_analysis import curves, levels, metrics, notes, pages, panels, style
from multirun_analysis.load import Study, check_levels
from multirun_analysis.schema import HEADLINE
from multirun_analysis.view import View

# The name of the panels of losses, the names of their scores in the legend, and the dashes that are no solid line.
_LOSS = "loss"
_LOSSES = {"train_loss": "training loss", "val_loss": "validation loss"}
_DASHES: dict[str, style.Dash] = {"val_loss": (0, (4, 1.5))}

# Choices that have a column of panels each, with a line a level; where there are more, each level has a column.
_FEW = 4


# Inches of a panel on the screen, and panels side by side.
_WIDTH, _MOST = 2.6, 5


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `curves.training_curves` of the tickets of a study, at about five levels, with two more columns.

    `by_level`: whether choices are few enough for a column of panels each. Where they are not, columns of the view are
    rows of panels. `panel`: the name of the y-axis. Each cell's headline is drawn, and its losses.
    """
    check_levels(study, counted=True)
    rows = study.evaluations
    headlines = {metrics.named(metrics.DEFAULT, name): name for name in metrics.headlines(rows)}
    rows = rows.assign(**{score: rows[score].where(rows[HEADLINE].eq(own)) for score, own in headlines.items()})
    scores = [*headlines, *(score for score in _LOSSES if score in rows)]
    found = curves.training_curves(rows, view, scores).assign(by_level=True)
    if found["choice"].nunique() > _FEW:
        found = curves.training_curves(rows, _in_rows(view), scores).assign(by_level=False)
    names = {score: _LOSS if score in _LOSSES else metrics.words(score) for score in scores}
    return found.assign(panel=found["score"].map(names))


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw the test score above the losses, for each row of the view. `df` is `table(...)`.

    A column of panels for each choice and a line for each level, from dense (dark) to sparse; where there are
    more than four choices, a column for each level and a line for each choice, of which a panel has a part.
    """
    look = _Look(df, view)
    df = df.assign(pruned=levels.level_names(df))
    there = {
        str(row): [(str(panel), str(along)) for panel, along in zip(rows["panel"], rows["along"], strict=True)]
        for row, rows in df.drop_duplicates(["row", "panel", "along"]).groupby("row", observed=True)
    }
    rows = [
        [_Panel(row, col, panel, along, tuple(part)) for col in df[look.col].cat.categories]
        for row in there
        for part in look.parts
        for panel, along in there[row]
    ]
    with style.rc(view.style):
        keys, wide = pages.side_by_side(rows, _MOST)
        together = max(map(len, there.values()))
        sheets = pages.sheets(keys, wide, look.names, view.style, width=_WIDTH, together=together)
        return [_page(df, sheet, look, view) for sheet in sheets]


class _Panel(NamedTuple):
    """What a panel shows: scores over what is along its x-axis, in a row and column, for some choices or levels."""

    row: str
    col: str
    panel: str
    along: str
    hues: tuple[str, ...]


class _Look:
    """What is a column of panels and what a line, choice or level; colour and marker of each line.

    parts: the lines of each panel, few enough to be told apart.
    """

    def __init__(self, df: pd.DataFrame, view: View) -> None:
        by_level = bool(df["by_level"].all())
        placed = view if by_level else _in_rows(view)
        self.row, choice = placed.row, (*placed.hue, *placed.col)
        self.col, self.hue = ("choice", "pruned") if by_level else ("pruned", "choice")
        self.titled = choice if by_level else ()
        self.losses = [score for score in _LOSSES if df["score"].eq(score).any()]
        names = list((levels.level_names(df) if by_level else df["choice"]).cat.categories)
        self.heading = levels.heading(names) if by_level else ", ".join(choice)
        self.parts = [names] if by_level else pages.parts(names)
        if by_level:
            self.of = {name: (color, "o") for name, color in zip(names, style.scale(len(names)), strict=True)}
        else:
            self.of = {name: look for part in self.parts for name, look in zip(part, style.looks(part), strict=True)}

    def names(self, keys: Iterable[_Panel]) -> list[str]:
        """Return all names in the legend of some panels."""
        return panels.named(self.legend(keys))

    def legend(self, keys: Iterable[_Panel]) -> list[tuple[str, list[panels.Entry]]]:
        """Return the sections of the legend of some panels."""
        sections = panels.by_part(self.heading, self.parts, [hue for key in keys for hue in key.hues], self._handle)
        if self.losses in ([], ["train_loss"]):
            return sections
        colors = [color for color, _ in self.of.values()]
        losses = [
            panels.several(
                [Line2D([], [], color=color, linestyle=_DASHES.get(score, "-")) for color in colors], _LOSSES[score]
            )
            for score in self.losses
        ]
        return [*sections, ("", losses)]

    def _handle(self, name: str) -> panels.Entry:
        color, marker = self.of[name]
        return Line2D([], [], color=color, marker=marker, label=name, markersize=3.0)


def _page(df: pd.DataFrame, sheet: pages.Sheet[_Panel], look: _Look, view: View) -> Figure:
    beyond = 0
    for row in dict.fromkeys(key._replace(col="") for key in sheet.axes):
        keys = [key for key in sheet.axes if key._replace(col="") == row]
        here = [df[df["row"].eq(key.row) & df[look.col].eq(key.col) & _drawn(df, key, look)] for key in keys]
        metric = next(iter(_LOSSES)) if row.panel == _LOSS else row.panel.replace(" ", "_")
        fitted = [
            panels.limits(_trained(of)[["mean", "low", "high"]].to_numpy().ravel(), metric, view.style) for of in here
        ]
        for key, of, ends in zip(keys, here, panels.share(fitted), strict=True):
            ax = sheet.axes[key]
            beyond += panels.clip(ax, _panel(ax, of, look), ends)
            beside = {other.panel for other, place in sheet.axes.items() if pages.is_beside(place, ax)}
            ax.set_ylabel(key.panel if pages.is_left(ax) or len(beside) > 1 else "")
            panels.thousands(ax)
            ax.set_xlabel(key.along if pages.is_bottom(ax) or len(set(df["along"])) > 1 else "")
    parts = {key: pages.part_name(key.hues, look.parts) for key in sheet.axes}
    titled = [look.row, look.titled, ()]
    pages.entitle(sheet, {key: panels.title([key.row, key.col, part], titled) for key, part in parts.items()})
    panels.legend(sheet.figure, look.legend(sheet.axes), view.style)
    panels.note(sheet.figure, notes.sentences(sheet.says, _note(df, view, beyond)), view.style)
    return sheet.figure


def _drawn(df: pd.DataFrame, key: _Panel, look: _Look) -> "pd.Series[bool]":
    return df["panel"].eq(key.panel) & df["along"].eq(key.along) & df[look.hue].isin(key.hues)


def _trained(of: pd.DataFrame) -> pd.DataFrame:
    """Return the rows after training began, or all of a panel that has no others: the untrained ones say little."""
    later = of[of["iteration"].gt(0)]
    return of if later.empty else later


def _panel(ax: Axes, here: pd.DataFrame, look: _Look) -> list[Line2D]:
    """Draw one panel, and return its lines of data, which may have to be clipped."""
    drawn: list[Line2D] = []
    for pair, line in here.groupby([look.hue, "score"], observed=True):
        name, score = map(str, pair)
        color, marker = look.of[name]
        if (line["n"] > 1).any():
            panels.band(ax, line, "x", color, 0.12, f"_{name}|{score}")
        # A level evaluated once has a point and no line: the marker shows it.
        marks: dict[str, Any] = {"marker": marker, "markersize": 3.0, "markevery": 1 + len(line) // 8}
        x, y, label = line["x"], line["mean"], f"{name}|{score}"
        drawn += ax.plot(x, y, color=color, linestyle=_DASHES.get(score, "-"), label=label, **marks)
    return drawn


def _in_rows(view: View) -> View:
    """Return the view with its columns of panels as rows, unless it has nothing else for the lines."""
    return dataclasses.replace(view, row=(*view.row, *view.col), col=()) if view.hue else view


def _note(df: pd.DataFrame, view: View, beyond: int) -> str:
    most = df["n"].max()
    several = f"Mean over {{}} at most, band {curves.BANDS[view.band]}."
    scored = "" if df["score"].eq("train_loss").any() else "The training set was not scored."
    return notes.sentences(
        "Tickets.", notes.over_seeds(pd.Series([most]), several), notes.beyond(beyond), scored, view.note
    )
