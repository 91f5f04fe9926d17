"""Densities of the initial weights, layer by layer, of each initialization."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from multirun_analysis import notes, panels, style
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


def draw(df: pd.DataFrame, view: View) -> Figure:
    """Draw a panel a layer and a line an init, dotted over it the density it is drawn from.

    `df` is `densities.init_densities(...)`.
    """
    inits, layers = list(df["init"].cat.categories), list(df["layer"].cat.categories)
    color = dict(zip(inits, style.colors(inits), strict=True))
    heading = ", ".join(view.of_group("init")) or "init"
    beyond = 0
    with style.rc(view.style):
        figure, axes = panels.grid([""], layers, [*inits, heading, _THEORY], view.style)
        for ax, layer in zip(axes.flat, layers, strict=True):
            here = df[df["layer"].eq(layer)]
            lines = [
                ax.step(*outline(line), where="post", color=color[init], linewidth=1.1, label=init)[0]
                for init, line in here.groupby("init", observed=True)
            ]
            for _, line in here.dropna(subset="theory").groupby("init", observed=True):
                ax.plot(line["value"], line["theory"], color="0.1", linestyle=":", linewidth=0.9, label="_theory")
            beyond += panels.clip(ax, lines, panels.Limits(0.0, 1.08 * _top(here)))
            ax.xaxis.set_major_locator(MaxNLocator(5))
            ax.set_title(layer)
            ax.set_xlabel("initial weight")
            ax.set_ylabel("density")
        handles = [Line2D([], [], color=color[init], label=init) for init in inits]
        known = [Line2D([], [], color="0.1", linestyle=":", label=_THEORY)] if df["theory"].notna().any() else []
        panels.legend(figure, [(heading, handles), ("", known)], view.style)
        panels.note(figure, _note(df, beyond))
    return figure


def _top(here: pd.DataFrame) -> float:
    peaks = here.groupby("init", observed=True)["density"].max()
    return float(peaks[peaks <= _PEAK * peaks.median()].max())


def _note(df: pd.DataFrame, beyond: int) -> str:
    seeds = f"{notes.seeds(df['cells'])} pooled" if df["cells"].max() > 1 else "one seed"
    return notes.sentences(f"Initial weights of {seeds}.", notes.beyond(beyond, "bin"), notes.broken(left_out(df)))
