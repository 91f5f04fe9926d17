"""Tickets against their controls, a panel for each learning rate and model (Shu, Qi & Liang, figures 4-6)."""

import dataclasses

import pandas as pd
from matplotlib.figure import Figure

from ltsweep.schema import TICKET
from multirun_analysis import lines
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, check_levels
from multirun_analysis.view import View


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `lines.table` of the view's metric, a column of panels a learning rate, a row for each other choice."""
    check_levels(study)
    if set(study.levels["arm"]) == {TICKET}:
        raise NothingToShow("no controls to compare tickets with; method.controls=[reinit] trains them")
    return lines.table(study, _by_rate(view), [view.metric])


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a line for each arm."""
    return lines.draw(df, _by_rate(view))


def _by_rate(view: View) -> View:
    return dataclasses.replace(view, row=tuple(name for name in view.choice if name != "lr"), col=("lr",), hue=())
