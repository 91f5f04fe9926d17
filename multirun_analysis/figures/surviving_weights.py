"""The initial weights that pruning leaves, layer by layer (Frankle & Carbin 2019, appendix F)."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from multirun_analysis import densities, levels, notes, pages, panels, style
from multirun_analysis.load import Study, check_levels
from multirun_analysis.view import View

# Levels that are drawn unless others are asked for.
_LEVELS = 4


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `densities.surviving` at four levels or those asked for, with the name of each level as `weights`."""
    check_levels(study)
    found = densities.surviving(study, view, levels.levels_at(study.levels, view, _LEVELS))
    densities.check_weights(found)
    names = study.levels[["level"]].assign(name=levels.level_names(study.levels).astype("str"))
    by_level = names.drop_duplicates("level").set_index("level")["name"]
    shown = [by_level[level] for level in sorted(found["level"].unique())]
    return found.assign(weights=pd.Categorical(found["level"].map(by_level), shown, ordered=True))


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a row of panels for each choice, a column for each layer, a line for each level.

    `df` is `table(...)`.
    """
    choices, layers, names = (list(df[name].cat.categories) for name in ("choice", "layer", "weights"))
    color = dict(zip(names, style.scale(len(names)), strict=True))
    heading = levels.heading(names)
    rows = [[(choice, layer) for layer in layers] for choice in choices]
    with style.rc(view.style):
        keys, wide = pages.side_by_side(rows)
        drawn = []
        for sheet in pages.sheets(keys, wide, lambda _: [*names, heading], view.style, width=2.8):
            for (choice, layer), ax in sheet.axes.items():
                here = df[df["choice"].eq(choice) & df["layer"].eq(layer)]
                for name, line in here.groupby("weights", observed=True):
                    ax.step(*densities.outline(line), where="post", color=color[str(name)], linewidth=1.0, label=name)
                ax.set_ylim(0.0)
                ax.xaxis.set_major_locator(MaxNLocator(4))
                ax.set_xlabel("initial weight")
                ax.set_ylabel("density" if pages.is_left(ax) else "")
            pages.entitle(sheet, {key: panels.title(key, [view.choice, ()]) for key in sheet.axes})
            handles = [Line2D([], [], color=color[name], linewidth=1.0, label=name) for name in names]
            panels.legend(sheet.figure, [(heading, handles)], view.style)
            panels.note(sheet.figure, notes.sentences(sheet.says, _note(df, view)), view.style)
            drawn.append(sheet.figure)
    return drawn


def _note(df: pd.DataFrame, view: View) -> str:
    return notes.sentences(
        "Initial weights that remain; each line has an area of one.",
        _pooled(df),
        _choices(df["choice"].nunique(), int(df["choices"].iloc[0]), ", ".join(view.choice)),
        _levels(view),
        notes.broken(densities.left_out(df)),
        view.note,
    )


def _pooled(df: pd.DataFrame) -> str:
    """Return the sentence on the seeds that are shown, and why those."""
    seeds = list(df["seeds"].unique())
    why = "whose initial weights are on the disk"
    if len(seeds) > 1:
        pooled = ", pooled" if df["cells"].max() > 1 else ""
        return f"Of each choice the first {notes.seeds(df['cells'])} {why}{pooled}."
    if "," not in seeds[0]:
        return f"Seed {seeds[0]}, the first {why}."
    return f"Seeds {seeds[0]} pooled, the first {seeds[0].count(',') + 1} {why}."


def _choices(shown: int, count: int, columns: str) -> str:
    if shown == count:
        return ""
    return f"{shown} of {count} choices, the first in the order of {columns} that have such weights; --where chooses."


def _levels(view: View) -> str:
    return "" if view.remaining else f"{_LEVELS} levels at most, evenly spread; --remaining chooses."
