"""Tickets against their controls, a panel for each learning rate and model (Shu, Qi & Liang, figures 4-6)."""

import dataclasses

import pandas as pd
from matplotlib.figure import Figure

from multirun_analysis import lines
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, need_levels
from multirun_analysis.view import View, first

# So many rows of panels are drawn.
_MOST = 12


def table(study: Study, view: View) -> pd.DataFrame:
    """`lines.table` of the view's metric, a column of panels for each learning rate, a row for each other choice."""
    need_levels(study)
    if set(study.levels["arm"]) == {"ticket"}:
        raise NothingToShow("no controls to compare tickets with; method.controls=[reinit] trains them")
    return lines.table(study, _by_rate(view), [view.metric])


def draw(df: pd.DataFrame, view: View) -> Figure:
    """Draw `lines.draw`: a line for each arm."""
    shown, note = first(df, "row", _MOST)
    return lines.draw(shown, dataclasses.replace(_by_rate(view), note=" ".join(filter(None, [note, view.note]))))


def _by_rate(view: View) -> View:
    return dataclasses.replace(view, row=tuple(name for name in view.choice if name != "lr"), col=("lr",), hue=())
