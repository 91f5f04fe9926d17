"""The initial weights that pruning leaves, layer by layer (Frankle & Carbin 2019, appendix F)."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from multirun_analysis import densities, levels, notes, panels, style
from multirun_analysis.load import Study, check_levels
from multirun_analysis.view import View, first

# Rows and columns of panels that are drawn.
_CHOICES, _LAYERS = 6, 6


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `densities.surviving` at four levels or those asked for, with the name of each level as `weights`."""
    check_levels(study)
    found = densities.surviving(study, view, levels.levels_at(study.levels, view, 4))
    densities.check_weights(found)
    names = study.levels[["level"]].assign(name=levels.level_names(study.levels).astype("str"))
    by_level = names.drop_duplicates("level").set_index("level")["name"]
    shown = [by_level[level] for level in sorted(found["level"].unique())]
    return found.assign(weights=pd.Categorical(found["level"].map(by_level), shown, ordered=True))


def draw(df: pd.DataFrame, view: View) -> Figure:
    """Draw a row of panels for each choice, a column for each layer, a line for each level.

    `df` is `table(...)`.
    """
    df, unseen = first(df, "choice", _CHOICES)
    df, unseen_layers = first(df, "layer", _LAYERS)
    choices, layers, names = (list(df[name].cat.categories) for name in ("choice", "layer", "weights"))
    color = dict(zip(names, style.scale(len(names)), strict=True))
    heading = "weights remaining"
    with style.rc(view.style):
        figure, axes = panels.grid(choices, layers, [*names, heading], view.style, width=2.8, wrap=len(choices) > 1)
        for i, choice in enumerate(choices):
            for j, layer in enumerate(layers):
                ax, here = axes[i, j], df[df["choice"].eq(choice) & df["layer"].eq(layer)]
                for name, line in here.groupby("weights", observed=True):
                    ax.step(*densities.outline(line), where="post", color=color[str(name)], linewidth=1.0, label=name)
                ax.set_ylim(0.0)
                ax.xaxis.set_major_locator(MaxNLocator(4))
                ax.set_title(panels.title([choice, layer], [view.choice, ()]), fontsize="small")
                ax.set_xlabel("initial weight")
                ax.set_ylabel("density" if j == 0 else "")
        handles = [Line2D([], [], color=color[name], label=name) for name in names]
        panels.legend(figure, [(heading, handles)], view.style)
        panels.note(figure, _note(df, notes.sentences(unseen, unseen_layers), view))
    return figure


def _note(df: pd.DataFrame, unseen: str, view: View) -> str:
    pooled = notes.over_seeds(df["cells"], "{} pooled.")
    says = "Initial weights that remain; each line has an area of one."
    return notes.sentences(says, pooled, unseen, notes.broken(densities.left_out(df)), view.note)
