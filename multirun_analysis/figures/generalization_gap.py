"""Training accuracy, and how far the test accuracy is below it, against the weights remaining."""

import pandas as pd
from matplotlib.figure import Figure

from multirun_analysis import lines
from multirun_analysis.load import Study
from multirun_analysis.view import View


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `lines.table` of the training accuracy at the end of a level, and of that less the test accuracy."""
    return lines.table(study, view, ["train_accuracy", "generalization_gap"])


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw the training accuracy above, the gap below."""
    return lines.draw(df, view)
