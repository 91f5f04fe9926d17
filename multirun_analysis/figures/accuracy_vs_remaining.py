"""A score at the end of each level against the weights remaining (Frankle & Carbin 2019, figures 1 and 4)."""

import pandas as pd
from matplotlib.figure import Figure

from multirun_analysis import lines
from multirun_analysis.load import Study
from multirun_analysis.view import View


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `lines.table` of the view's metric. Raises AnalysisError where there is no such metric."""
    return lines.table(study, view, [view.metric])


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw tickets and their controls, a line a choice."""
    return lines.draw(df, view)
