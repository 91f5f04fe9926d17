"""Test score of each level's best model, chosen by validation, against the weights remaining."""

import pandas as pd
from matplotlib.figure import Figure

from multirun_analysis import lines
from multirun_analysis.load import Study
from multirun_analysis.metrics import BEST
from multirun_analysis.view import View


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `lines.table` of the test score of the headline at the evaluation of its best validation score."""
    return lines.table(study, view, [f"{BEST}{{headline}}"])


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw tickets and their controls, a line a choice."""
    return lines.draw(df, view)
