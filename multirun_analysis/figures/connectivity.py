"""The error barrier between the ticket and its twin, against the weights remaining: does it depend on its batches?"""

import dataclasses

import pandas as pd
from matplotlib.figure import Figure

from ltsweep.schema import TICKET, TWIN
from multirun_analysis import lines
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, check_readings
from multirun_analysis.view import View

# What is drawn, as the measurement names it.
_BARRIER = "test_barrier"


def table(study: Study, view: View) -> pd.DataFrame:
    """Return `lines.table` of the barrier at the end of each level, the mean over the twins of a ticket."""
    check_readings(study)
    readings = study.readings
    found = readings[readings["arm"].eq(TWIN) & readings["name"].eq(_BARRIER)]
    if found.empty:
        raise NothingToShow("no barrier was measured: measure=[connectivity] with method.controls=[twin] does")
    barriers = found.groupby(["key", "level"], observed=True)["value"].mean().rename(_BARRIER)
    tickets = study.levels[study.levels["arm"].eq(TICKET)]
    levels = tickets.merge(barriers.reset_index(), on=["key", "level"], how="inner")
    return lines.table(dataclasses.replace(study, levels=levels), view, [_BARRIER])


def draw(df: pd.DataFrame, view: View) -> list[Figure]:
    """Draw a line a choice, a band over seeds; dotted the dense networks."""
    return lines.draw(df, view)
