"""Densities of the initial weights, layer by layer, of each initialization."""

from collections.abc import Iterable, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from multirun_analysis import notes, pages, panels, style
from multirun_analysis.densities import check_weights, init_densities, left_out, outline
from multirun_analysis.load import Study
from multirun_analysis.view import View

# A density is cut, and marked, above this many times the median peak of its layer: a constant init has a spike.
_PEAK = 4.0

# Name of the dotted line in the legend.
_THEORY = "drawn from"


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `densities.init_densities` of a study. Raises NothingToShow where no initial weights are on the disk."""
    found = init_densities(study, view)
    check_weights(found)
    return found


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a panel a layer and a line an init, dotted over it the density it is drawn from.

    `df` is `densities.init_densities(...)`. Many inits have several panels a layer.
    """
    parts = pages.parts(list(df["init"].cat.categories))
    color = {init: color for part in parts for init, color in zip(part, style.colors(part), strict=True)}
    heading = ", ".join(view.of_group("init")) or "init"
    rows = [[(layer, tuple(part)) for layer in df["layer"].cat.categories] for part in parts]

    def legend(keys: Iterable[tuple[str, tuple[str, ...]]]) -> list[tuple[str, list[panels.Entry]]]:
        known = [Line2D([], [], color="0.1", linestyle=":", label=_THEORY)] if df["theory"].notna().any() else []
        shown = [init for _, inits in keys for init in inits]
        by_part = panels.by_part(heading, parts, shown, lambda init: Line2D([], [], color=color[init], label=init))
        return [*by_part, ("", [*known])]

    with style.rc(view.style):
        keys, wide = pages.side_by_side(rows)
        drawn = []
        for sheet in pages.sheets(keys, wide, lambda keys: panels.named(legend(keys)), view.style):
            beyond = 0
            for (layer, inits), ax in sheet.axes.items():
                beyond += _panel(ax, df[df["layer"].eq(layer) & df["init"].isin(inits)], color)
            titles = {key: panels.title([key[0], pages.part_name(key[1], parts)], [(), ()]) for key in sheet.axes}
            pages.entitle(sheet, titles)
            panels.legend(sheet.figure, legend(sheet.axes), view.style)
            panels.note(sheet.figure, notes.sentences(sheet.says, _note(df, beyond)), view.style)
            drawn.append(sheet.figure)
    return drawn


def _panel(ax: Axes, here: pd.DataFrame, color: Mapping[str, style.Color]) -> int:
    """Draw one panel, and return the number of bins beyond its axis."""
    lines = [
        ax.step(*outline(line), where="post", color=color[str(init)], linewidth=1.1, label=init)[0]
        for init, line in here.groupby("init", observed=True)
    ]
    for _, line in here.dropna(subset="theory").groupby("init", observed=True):
        ax.plot(line["value"], line["theory"], color="0.1", linestyle=":", linewidth=0.9, label="_theory")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("initial weight")
    ax.set_ylabel("density")
    return panels.clip(ax, lines, panels.Limits(0.0, 1.08 * _top(here)))


def _top(here: pd.DataFrame) -> float:
    peaks = here.groupby("init", observed=True)["density"].max()
    return float(peaks[peaks <= _PEAK * peaks.median()].max())


def _note(df: pd.DataFrame, beyond: int) -> str:
    seeds = f"{notes.seeds(df['cells'])} pooled" if df["cells"].max() > 1 else "one seed"
    return notes.sentences(f"Initial weights of {seeds}.", notes.beyond(beyond, "bin"), notes.broken(left_out(df)))
