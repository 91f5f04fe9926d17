"""The training score, and how much worse the test score is, against the weights remaining."""

import dataclasses

import pandas as pd
from matplotlib.figure import Figure

from multirun_analysis import lines, metrics
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, check_levels
from multirun_analysis.schema import HEADLINE
from multirun_analysis.view import View


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `lines.table` of the training score at the end of a level, and of its gap to the test score.

    Raises NothingToShow where no headline has a gap: returns are of games that are played anew, not of data.
    """
    check_levels(study)
    levels = study.levels[study.levels[HEADLINE].isin(filter(metrics.has_gap, metrics.headlines(study.levels)))]
    if levels.empty:
        raise NothingToShow("no cell is scored on data that it learns by and on others: returns are of new games")
    own = dataclasses.replace(study, levels=levels)
    return lines.table(own, view, ["train_{headline}", "{gap}"])


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw the training score above, the gap below."""
    return lines.draw(df, view)
