"""How far tickets' weights move within a level, layer by layer, and how their distribution becomes the trained one."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multirun_analysis import by_line, movement, notes, panels
from multirun_analysis.load import Study
from multirun_analysis.movement import CLOSER, CORRELATION, DISTANCE, LARGE, SIGNS
from multirun_analysis.view import View

_AXES = {
    DISTANCE: "distance from the start\nover the norm there",
    SIGNS: "share of signs changed",
    CORRELATION: "correlation with the start",
    LARGE: "share of the weights that\nwere large at the start",
    CLOSER: "from the drawn (0)\nto the trained distribution (1)",
}


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `movement.table` of a study. Raises NothingToShow where no weights were measured."""
    return movement.table(study, view)


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a row of panels a layer, a line a choice with the range over seeds. `df` is `movement.table(...)`."""
    shown = [quantity for quantity in _AXES if df["quantity"].eq(quantity).any()]

    def kinds(_: str) -> list[list[tuple[str, ...]]]:
        return [[(layer, quantity) for quantity in shown] for layer in df["layer"].cat.categories]

    def panel(ax: Axes, key: by_line.Panel, looks: by_line.Looks) -> None:
        layer, quantity = key.kind
        here = key.of(df)
        here = here[here["layer"].eq(layer) & here["quantity"].eq(quantity)]
        for name, rows in here.groupby("line", observed=True, sort=True):
            look = looks[str(name)]
            by_line.line(ax, rows, "value", look, str(name))
            panels.band(ax, rows, "x", look[0], 0.15, f"_{name}")
            if quantity == LARGE:
                ax.plot(rows["x"], rows["chance"], color="0.1", linestyle=":", linewidth=0.9, label="_theory")
        if quantity == CLOSER:
            ax.axhline(0.5, color="0.1", linestyle=":", linewidth=0.9, label="_theory")
            ax.set_xlabel("epoch of the dense network")
        else:
            panels.percent_axis(ax, here["x"], view.style)
            ax.set_xlabel("weights remaining (%)")
        ax.set_ylabel(_AXES[quantity])
        ax.set_title(layer, loc="right", fontsize="small", color="0.35")

    lines = [name for name in view.choice if name not in view.row]
    return by_line.draw(df, view, kinds, panel, _note(df), lines=lines)


def _note(df: pd.DataFrame) -> str:
    since = movement.since(df)
    closer = ""
    if len(since):
        by_layer = since.groupby("layer", observed=True)["epoch"].agg(["min", "max"])
        said = [
            f"{layer} {low:.3g}" + (f" to {high:.3g}" if high > low else "")
            for layer, low, high in by_layer.itertuples()
        ]
        closer = f"Closer to the trained distribution from epoch: {', '.join(said)}."
    return notes.sentences(
        notes.over_seeds(df["n"], "Means and ranges over {}."),
        "Large at the start: among as many weights of the layer with the largest magnitudes; dotted by chance."
        if df["quantity"].eq(LARGE).any()
        else "",
        "Distance of distributions: Wasserstein's, by quantiles; dotted as far from one as from the other."
        if closer
        else "",
        closer,
    )
