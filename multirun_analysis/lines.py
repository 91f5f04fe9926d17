"""Lines against the weights remaining: the picture that several figures share, of one metric or of a few."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multirun_analysis import curves, notes, panels, style
from multirun_analysis.load import Study, check_levels
from multirun_analysis.schema import ticket_first
from multirun_analysis.view import View

# Dense scores that a panel draws as a line each; of more it draws their median alone.
_FEW = 4


def table(study: Study, view: View, metrics: Sequence[str]) -> pd.DataFrame:
    """Return `curves.accuracy_vs_remaining` of a few metrics, one below the other, with their names as `metric`.

    Raises NothingToShow where no level has been finished or a metric has no value in this study.
    """
    check_levels(study)
    for metric in metrics:
        curves.check_metric(study.levels, metric)
    views = {metric: dataclasses.replace(view, metric=metric) for metric in metrics}
    tables = [curves.accuracy_vs_remaining(study.levels, views[metric]).assign(metric=metric) for metric in metrics]
    return pd.concat(tables, ignore_index=True)


def draw(df: pd.DataFrame, view: View) -> Figure:
    """Draw a line a choice, tickets solid, controls dashed; a band over seeds; dotted the dense networks.

    `df` is `table(...)`; each metric has a row of panels for each row of the view. A hollow marker is a mean over
    fewer cells than the line has elsewhere; a failed or diverged cell is a thin line of its own that ends in a cross;
    a triangle at the edge of a panel is a point beyond it.
    """
    look = _Look(df, view)
    metrics = list(df["metric"].unique())
    rows = [(metric, row) for row in df["row"].cat.categories for metric in metrics]
    cols = list(df["col"].cat.categories)
    beyond = 0
    with style.rc(view.style):
        figure, axes = panels.grid(rows, cols, look.names, view.style)
        for metric in metrics:
            drawn: list[tuple[Axes, list[Line2D], panels.Limits]] = []
            for i, row in [(i, row) for i, (name, row) in enumerate(rows) if name == metric]:
                for j, col in enumerate(cols):
                    here = df[df["row"].eq(row) & df["col"].eq(col) & df["metric"].eq(metric)]
                    ends = panels.limits([*here["mean"], *here["low"], *here["high"]], metric)
                    drawn.append((axes[i, j], _panel(axes[i, j], here, look), ends))
                    panels.percent_axis(axes[i, j], df["remaining"])
                    axes[i, j].set_title(panels.title([row, col], [view.row, view.col]))
                    axes[i, j].set_xlabel("weights remaining (%)")
                    axes[i, j].set_ylabel(NAMES.get(metric, metric.replace("_", " ")))
            shared = panels.share([ends for *_, ends in drawn])
            beyond += sum(panels.clip(ax, lines, ends) for (ax, lines, _), ends in zip(drawn, shared, strict=True))
        panels.legend(figure, look.legend(), view.style)
        panels.note(figure, _note(df, view, beyond))
    return figure


# Names of metrics on an axis, where their own would not do.
NAMES = {
    "generalization_gap": "train − test accuracy",
    "early_stop_iteration": "early-stop iteration",
    "best_test_accuracy": "test accuracy of the best\nmodel by validation",
    "final_test_accuracy": "test accuracy",
}


class _Look:
    """Colour, marker and dashes of each line: by choice and arm, or by arm where there is one choice."""

    def __init__(self, df: pd.DataFrame, view: View) -> None:
        self.title = ", ".join(view.hue)
        self.hues = [str(hue) for hue in df["hue"].cat.categories]
        self.arms = ticket_first(df["arm"].unique())
        self.by_arm = len(self.hues) == 1
        names = self.arms if self.by_arm else self.hues
        looks = dict(zip(names, style.looks(names), strict=True))
        self.color = {name: color for name, (color, _) in looks.items()}
        self.marker = {name: marker for name, (_, marker) in looks.items()}
        self.dash = style.dashes(self.arms)
        self.bars = view.bars
        self.band_alpha = 0.18 if len(names) <= 4 else 0.10
        self.dense = "dense" if len(names) <= _FEW else "dense, median"
        self.names = [*([] if self.by_arm else [*self.hues, self.title]), *self.arms, self.dense]

    def name(self, hue: str, arm: str) -> str:
        """Return the name by which a line has its colour and marker."""
        return arm if self.by_arm else hue

    def legend(self) -> list[tuple[str, Sequence[Artist]]]:
        """Return the sections of the legend: the choices, the arms and the dense network, where there are several."""
        choices = [] if self.by_arm else [self._handle(hue, self.color[hue], self.marker[hue]) for hue in self.hues]
        arms = [self._arm(arm) for arm in self.arms] if len(self.arms) > 1 else []
        dense = Line2D([], [], color="0.5", linestyle=":", linewidth=1, label=self.dense)
        return [(self.title, choices), ("arm", arms), ("", [dense])]

    def _arm(self, arm: str) -> Artist:
        color, marker = self.color.get(arm, "0.3"), self.marker.get(arm, "")
        return self._handle(arm.replace("_", " "), color, marker, self.dash[arm])

    @staticmethod
    def _handle(label: str, color: style.Color | str, marker: str, dash: style.Dash = "-") -> Artist:
        return Line2D([], [], color=color, marker=marker, linestyle=dash, label=label)


def _panel(ax: Axes, here: pd.DataFrame, look: _Look) -> list[Line2D]:
    """Draw one panel, and return its lines of data, which may have to be clipped."""
    means = here[here["cell"].eq("")]
    _dense(ax, means[means["level"].eq(0)], look)
    drawn: list[Line2D] = []
    for pair, line in means.groupby(["hue", "arm"], observed=True):
        hue, arm = map(str, pair)
        name = look.name(hue, arm)
        color = look.color[name]
        if (line["n"] > 1).any():
            _spread(ax, line, color, f"_{hue}|{arm}", look)
        dash, marker = look.dash[arm], look.marker[name]
        edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.4}
        x, y = line["remaining"], line["mean"]
        drawn += ax.plot(x, y, color=color, linestyle=dash, marker=marker, label=f"{hue}|{arm}", **edge)
        fewer = line[line["n"] < line["cells"]]
        if len(fewer):
            x, y = fewer["remaining"], fewer["mean"]
            ax.plot(x, y, marker or "o", color=color, markerfacecolor="white", label="_fewer")
    for triple, line in here[here["cell"].ne("")].groupby(["cell", "hue", "arm"], observed=True):
        _, hue, arm = map(str, triple)
        drawn += _stopped(ax, line, look.color[look.name(hue, arm)], look.dash[arm])
    return drawn


def _spread(ax: Axes, line: pd.DataFrame, color: style.Color, label: str, look: _Look) -> None:
    """Draw the band of a line, or a bar at each of its levels."""
    if look.bars:
        x, mean = line["remaining"], line["mean"]
        away = (mean - line["low"], line["high"] - mean)
        ax.errorbar(x, mean, away, fmt="none", ecolor=color, elinewidth=0.8, capsize=2, label=label)
    else:
        panels.band(ax, line, "remaining", color, look.band_alpha, label)


def _dense(ax: Axes, dense: pd.DataFrame, look: _Look) -> None:
    """Draw the scores of the dense networks as dotted lines across the panel."""
    if len(look.color) <= _FEW:
        for hue, arm, value in dense[["hue", "arm", "mean"]].itertuples(index=False):
            color = look.color[look.name(hue, arm)]
            ax.axhline(value, color=color, linestyle=":", linewidth=0.9, label="_dense")
    elif len(dense):
        ax.axhline(dense["mean"].median(), color="0.5", linestyle=":", linewidth=0.9, label="_dense")


def _stopped(ax: Axes, line: pd.DataFrame, color: style.Color, dash: style.Dash) -> list[Line2D]:
    """Draw a failed or diverged cell: a thin line to its last finite value, and a cross there. Return both."""
    finite = line.dropna(subset="mean")
    if finite.empty:
        return []
    x, y = finite["remaining"], finite["mean"]
    drawn = ax.plot(x, y, color=color, linestyle=dash, linewidth=0.6, label="_stopped")
    return drawn + ax.plot(x.iloc[-1:], y.iloc[-1:], "x", color=color, label="_stopped_at")


def _note(df: pd.DataFrame, view: View, beyond: int) -> str:
    means = df[df["cell"].eq("")]  # of all metrics; those of one level are of equally many cells
    band = f"{'bars' if view.bars else 'band'} {curves.BANDS[view.band]}"
    return notes.sentences(
        notes.over_seeds(means["cells"], f"Mean over {{}}, {band}.") if len(means) else "",
        "Hollow: fewer seeds." if (means["n"] < means["cells"]).any() else "",
        "Thin with a cross: a failed or diverged cell, in no mean." if df["cell"].ne("").any() else "",
        notes.beyond(beyond),
        view.note,
    )
