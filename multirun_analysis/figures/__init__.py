"""One file a figure: `table(study, view)` gives what is drawn as a DataFrame, `draw(df, view)` the Figure.

A figure is known by the name of its file; to add one is to add a file with these two functions.
"""

import importlib
import pkgutil
from typing import Protocol, cast

import pandas as pd
from matplotlib.figure import Figure

from multirun_analysis.load import Study
from multirun_analysis.view import View


class FigureFile(Protocol):
    """What each file of this package offers."""

    def table(self, study: Study, view: View) -> pd.DataFrame:
        """Make the table that is drawn; raises NothingToShow, saying what the study lacks, where it would be empty."""

    def draw(self, df: pd.DataFrame, view: View) -> Figure:
        """Draw the table; reads no file and computes no statistic."""


def names() -> list[str]:
    """List the figures, by name."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get(name: str) -> FigureFile:
    """Import one figure's file."""
    return cast(FigureFile, importlib.import_module(f"{__name__}.{name}"))
