"""Densities of the initial weights, layer by layer, of each initialization."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from multirun_analysis import panels, style
from multirun_analysis.densities import init_densities
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study
from multirun_analysis.view import View

_PEAK = 4.0
"""A density higher than so many times the median peak of its layer (a constant init) is cut, and marked."""


def table(study: Study, view: View) -> pd.DataFrame:
    """`densities.init_densities` of a study."""
    found = init_densities(study, view)
    if found.empty:
        raise NothingToShow("no cell has its initial weights on the disk: tickets/init.safetensors")
    return found


def draw(df: pd.DataFrame, view: View) -> Figure:
    """Draw a panel a layer and a line an init. `df` is `densities.init_densities(...)`."""
    inits, layers = list(df["init"].cat.categories), list(df["layer"].cat.categories)
    color = dict(zip(inits, style.colors(inits), strict=True))
    heading = ", ".join(name for name in view.columns if name.split(".")[0] == "init") or "init"
    n_legend, legend_width = panels.legend_size([*inits, heading])
    beyond = 0
    with style.rc():
        figure, axes = panels.grid([""], layers, legend_width=legend_width)
        for ax, layer in zip(axes.flat, layers, strict=True):
            here = df[df["layer"].eq(layer)]
            lines = [
                ax.step(*_outline(line), where="post", color=color[init], linewidth=1.1, label=init)[0]
                for init, line in here.groupby("init", observed=True)
            ]
            beyond += panels.clip(ax, lines, panels.Limits(0.0, 1.08 * _top(here)))
            ax.xaxis.set_major_locator(MaxNLocator(5))
            ax.set_title(layer)
            ax.set_xlabel("initial weight")
            ax.set_ylabel("density")
        panels.legend(figure, [(heading, [Line2D([], [], color=color[init], label=init) for init in inits])],
                      columns=n_legend)  # fmt: skip
        panels.note(figure, _note(df, beyond))
    return figure


def _outline(line: pd.DataFrame) -> tuple[NDArray[Any], NDArray[Any]]:
    """Left edges and heights of the bins, from zero and back to zero."""
    left = (line["value"] - line["width"] / 2).to_numpy()
    right = left[-1] + line["width"].iloc[-1]
    return np.array([left[0], *left, right]), np.array([0.0, *line["density"], 0.0])


def _top(here: pd.DataFrame) -> float:
    peaks = here.groupby("init", observed=True)["density"].max()
    return float(peaks[peaks <= _PEAK * peaks.median()].max())


def _note(df: pd.DataFrame, beyond: int) -> str:
    least, most = df["cells"].min(), df["cells"].max()
    seeds = f"{most}" if least == most else f"{least} to {most}"
    cut = f" Triangles at the edge: {beyond} bin{'s' if beyond > 1 else ''} beyond it." if beyond else ""
    return f"Initial weights of {seeds} seed{'s' if most > 1 else ''} pooled.{cut}"
