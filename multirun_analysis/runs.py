"""The runs test on bits of parameters (measure=[mantissa]), as tables. DataFrame in, DataFrame out."""

import math

import pandas as pd

from ltsweep.schema import TICKET
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, check_readings
from multirun_analysis.schema import COUNTED, REJECTED
from multirun_analysis.view import View, label

# Readings of the kinds of tensors -> their columns.
_NAMES = {"runs_z_mean": "mean", "runs_z_max": "largest"}

# When a network is looked at: before level 0, and after it.
BEFORE, AFTER = "before training", "trained"

# The mean of |Z| of random numbers.
BY_CHANCE = math.sqrt(2 / math.pi)


def with_metrics(study: Study, levels: pd.DataFrame) -> pd.DataFrame:
    """Return a levels table of a study with the columns REJECTED, means over ranges of bits of trained dense networks.

    Of a kind the weights and the biases count alike. Null where nothing was measured.
    """
    found = levels.assign(**dict.fromkeys(REJECTED, math.nan))
    rows = study.readings
    if rows.empty or not rows["name"].eq("runs_z_rejected").any():
        return found
    rows = rows[rows["name"].eq("runs_z_rejected") & rows["arm"].eq(TICKET) & rows["level"].eq(0)]
    last = rows.groupby("key", observed=True)["iteration"].transform("max")
    rows = rows[last.gt(0) & rows["iteration"].eq(last)]
    kinds = rows["place"].astype("str").str.partition(" ")[0]
    shares = rows.assign(key=rows["key"].astype("str"), kind=kinds).groupby(["key", "kind"])["value"].mean()
    own = levels["arm"].eq(TICKET) & levels["level"].eq(0)
    for column in REJECTED:
        kind = column.rpartition("_")[2]
        if kind in shares.index.get_level_values("kind"):
            found[column] = levels["key"].astype("str").map(shares.xs(kind, level="kind")).where(own)
    return found


def table(study: Study, view: View) -> pd.DataFrame:
    """Return |Z| of each kind of tensors and range of bits, of the dense networks of each choice.

    Columns: `panel, line` (names of the choice)`, kind, moment` (BEFORE or AFTER)`, x` (first bit of the range)`, mean`
    (over the tensors of a kind, then over networks)`, largest` (of all)`, n` (networks). Raises NothingToShow where
    nothing was measured.
    """
    check_readings(study)
    rows = study.readings
    rows = rows[rows["name"].isin(list(_NAMES)) & rows["arm"].eq(TICKET) & rows["status"].isin(COUNTED)]
    rows = rows[rows["level"].eq(0)].dropna(subset="value")
    if rows.empty:
        raise NothingToShow("no runs test was made: measure=[mantissa] does")
    last = rows.groupby("key", observed=True)["iteration"].transform("max")
    rows = rows[rows["iteration"].eq(0) | rows["iteration"].eq(last)]
    named = rows.assign(
        panel=label(rows, view.row),
        line=label(rows, tuple(name for name in view.choice if name not in view.row)),
        kind=rows["place"].astype("str"),
        moment=rows["iteration"].gt(0).map({False: BEFORE, True: AFTER}),
        x=rows["at"],
        column=rows["name"].astype("str").map(_NAMES),
    ).drop_duplicates(["key", "kind", "moment", "x", "column"])
    by = ["panel", "line", "kind", "moment", "x"]
    of = {column: named[named["column"].eq(column)].groupby(by, observed=True)["value"] for column in _NAMES.values()}
    found = {"mean": of["mean"].mean(), "largest": of["largest"].max(), "n": of["mean"].count()}
    return pd.DataFrame(found).reset_index()
