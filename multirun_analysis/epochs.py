"""Epochs to a score, for networks whose level ends there (stop=at_accuracy). DataFrame in, DataFrame out.

A network that was not there when its level ended is censored: all that is known is that it takes longer.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri

from ltsweep.schema import TICKET
from multirun_analysis import lengths, metrics
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study
from multirun_analysis.schema import COUNTED, REACHED, STOPPED
from multirun_analysis.view import View, label


class Survival(NamedTuple):
    """Kaplan & Meier's estimates (1958) of a time of which some are censored.

    median: the first time at which half or fewer are not there yet; inf where more never are. mean: of the time or the
    last one seen, whichever is less; low, high: its 95 % interval by Greenwood's variance, within 0 and that time.
    """

    median: float
    mean: float
    low: float
    high: float


def kaplan_meier(times: Sequence[float], there: Sequence[bool]) -> Survival:
    """Return the estimates for times, each the true one where `there`, else the least that it can be."""
    t, seen = np.asarray(times, dtype=np.float64), np.asarray(there, dtype=bool)
    end, survival = float(t.max()), 1.0
    steps = []  # time, survival from then on, those there then, those at risk
    for time in np.unique(t[seen]):
        events, risk = int((seen & (t == time)).sum()), int((t >= time).sum())
        survival *= 1 - events / risk
        steps.append((float(time), survival, events, risk))
    starts = [0.0, *(step[0] for step in steps)]
    widths = np.diff([*starts, end])
    areas = np.array([1.0, *(step[1] for step in steps)]) * widths
    mean, left = float(areas.sum()), areas[::-1].cumsum()[::-1][1:]  # left: the area after each step
    variance = sum(
        after**2 * events / (risk * (risk - events))
        for (_, _, events, risk), after in zip(steps, left, strict=True)
        if risk > events
    )
    away = float(ndtri(0.975)) * math.sqrt(variance)
    median = next((time for time, survives, _, _ in steps if survives <= 0.5 + 1e-12), math.inf)
    return Survival(median, mean, max(mean - away, 0.0), min(mean + away, end))


def of_cells(study: Study) -> pd.DataFrame:
    """Return one row for each ticket of level 0 that ended, or not, at its score: `key, epochs, there`, and its config.

    A diverged network is not there, and never would be: it is censored at the most epochs of any. Raises NothingToShow
    where no cell has such an end.
    """
    rows = study.evaluations
    if "stop.score" not in rows:
        raise NothingToShow("no cell ends at a score: stop=at_accuracy does")
    rows = rows[rows["arm"].eq(TICKET) & rows["level"].eq(0) & rows["stop.score"].notna()]
    ended = rows["status"].isin(COUNTED) & rows["key"].isin(study.levels["key"])
    rows = rows[ended | rows["status"].isin(STOPPED)]
    if rows.empty:
        raise NothingToShow("no cell that ends at a score has finished a level")
    last = rows.sort_values("epoch", kind="stable").drop_duplicates("key", keep="last").reset_index(drop=True)
    value = [last[str(score)].iloc[i] for i, score in enumerate(last["stop.score"])]
    goal = last["stop.threshold"].astype("float64")
    higher = last["stop.score"].astype("str").map(lambda score: metrics.of(score).higher).astype("bool")
    there = np.where(higher, np.asarray(value) >= goal, np.asarray(value) <= goal)
    there = there & ~last["status"].isin(STOPPED)
    most = float(last["epoch"].max())
    epochs = last["epoch"].where(~last["status"].isin(STOPPED), most)
    return last.assign(epochs=epochs, there=there)


def with_metrics(study: Study, levels: pd.DataFrame) -> pd.DataFrame:
    """Return a levels table of a study with the column REACHED: 1 for a ticket of level 0 that was there, 0 if not."""
    try:
        there = of_cells(study).set_index("key")["there"]
    except NothingToShow:
        return levels.assign(**{REACHED: np.nan})
    own = levels["arm"].eq(TICKET) & levels["level"].eq(0)
    values = levels["key"].astype("str").map(there.set_axis(there.index.astype("str")).astype("float64"))
    return levels.assign(**{REACHED: values.where(own)})


def by_length(study: Study, view: View) -> pd.DataFrame:
    """Return one row for each network with a length scale: `panel, line, key, depth, x` (M_d / M_0)`, epochs, there`.

    Raises NothingToShow where none has both.
    """
    cells = of_cells(study)
    lengths_of = lengths.per_cell(study, (*COUNTED, *STOPPED)).set_index("key")
    apart = tuple(name for name in view.row if name != "model.depth")
    lines = tuple(name for name in view.choice if name not in (*apart, "model.depth"))
    keys = cells["key"].astype("str")
    found = pd.DataFrame(
        {
            "panel": label(cells, apart),
            "line": label(cells, lines),
            "key": keys,
            "depth": keys.map(lengths_of["d"]),
            "x": keys.map(lengths_of["growth"]),
            "epochs": cells["epochs"],
            "there": cells["there"],
        }
    )
    found = found[found["x"].gt(0)].reset_index(drop=True)  # a dead network has no length
    if found.empty:
        raise NothingToShow("no network that ends at a score has a length scale: measure=[lengths] adds it")
    return found


def axis(cells: pd.DataFrame, view: View) -> str:
    """Return the config column that is the x-axis: the depth, or another number that varies; empty for none."""
    numbers = [name for name in view.choice if pd.api.types.is_numeric_dtype(cells[name])]
    return "model.depth" if "model.depth" in numbers else numbers[0] if numbers else ""


def table(study: Study, view: View) -> pd.DataFrame:
    """Return the epochs to the score of each choice.

    Columns: `panel, line` (names of the choice, without the axis)`, x, median, mean, low, high` (as Survival)`, n,
    there` (how many of the n were)`, limit` (the most epochs that any took)`, against`.
    """
    cells = of_cells(study)
    along = axis(cells, view)
    apart = tuple(name for name in view.row if name != along)
    lines = tuple(name for name in view.choice if name not in (*apart, along))
    named = cells.assign(
        panel=label(cells, apart), line=label(cells, lines), x=cells[along].astype("float64") if along else 0.0
    )
    rows: list[dict[str, Any]] = []
    for (panel, line, x), group in named.groupby(["panel", "line", "x"], observed=True, sort=True):
        found = kaplan_meier(group["epochs"].tolist(), group["there"].tolist())
        counts = {"n": len(group), "there": int(group["there"].sum()), "limit": float(group["epochs"].max())}
        rows.append({"panel": panel, "line": line, "x": x, **found._asdict(), **counts, "against": along})
    table = pd.DataFrame(rows)
    for name in ("panel", "line"):
        table[name] = pd.Categorical(table[name], named[name].cat.categories, ordered=True)
    return table
