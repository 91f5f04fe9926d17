"""The iteration of least validation loss against the weights remaining (Frankle & Carbin 2019, figure 4a)."""

import pandas as pd
from matplotlib.figure import Figure

from multirun_analysis import lines
from multirun_analysis.load import Study
from multirun_analysis.view import View


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `lines.table` of the early-stop iteration: the first of a level with its least validation loss."""
    return lines.table(study, view, ["early_stop_iteration"])


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a line a choice: the lower, the faster its networks learn."""
    return lines.draw(df, view)
