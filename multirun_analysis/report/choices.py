"""Which choice wins, by how much, and whether the data can tell: every choice against every other, seed by seed."""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from ltsweep.schema import TICKET
from multirun_analysis import pairing, statistics, view
from multirun_analysis.pairing import Side
from multirun_analysis.schema import ticket_first

# In `standings` a ticket matches its dense network if its accuracy is at most this fraction below.
MARGIN = 0.005

# A difference of accuracies, a tenth of a point: `contests` has the number of seeds that would see it.
SIZE = 0.001

# Pairs of choices that are all compared, those of eight choices; of more, each is compared with the leading one.
MOST_PAIRS = 28

# Level of the corrected tests that name a winner.
_ALPHA = 1 - statistics.CONFIDENCE


# Columns that tell one comparison from another.
_BY = ["axis", "left_name", "right_name", "setting"]


def standings(levels: pd.DataFrame, metric: str = "test_accuracy") -> pd.DataFrame:
    """Return a row for each choice of all that varies and each arm, the best area first within an arm.

    Columns: `choice, arm, n` (cells)`, dense` (mean at level 0, the ticket's)`, area` (mean over the log of the weights
    remaining)`, low, high` (its t interval over seeds)`, to` (the remaining it goes down to)`, matches` (the smallest
    remaining at which it still matches dense within MARGIN, by `statistics.matching`).
    """
    scores = pairing.scores(levels, metric)
    names = ["choice", "arm", "n", "dense", "area", "low", "high", "to", "matches"]
    found = []
    for arm in ticket_first(scores["arm"].unique()):
        side = Side(arm=arm)
        own = pairing.paired(scores, side, side).assign(right=0.0, difference=lambda df: df["left"])
        areas = statistics.compare(statistics.area(own), ["setting"]).set_index("setting")
        pairs = pairing.paired(scores, side, Side(dense=True))
        dense = pairs.groupby(["setting", "seed"])["right"].first().groupby("setting").mean()
        matches = statistics.matching(pairs, MARGIN).set_index("setting")["remaining"]
        table = pd.DataFrame({"n": own.groupby("setting")["seed"].nunique()})
        table = table.assign(arm=arm, dense=dense, area=areas["left"], low=areas["low"], high=areas["high"])
        table = table.assign(to=own.groupby("setting")["remaining"].min(), matches=matches)
        table = table.rename_axis("choice").reset_index()
        found.append(table.sort_values(["area", "choice"], ascending=[False, True], kind="stable"))
    return pd.concat(found, ignore_index=True)[names] if found else pd.DataFrame(columns=names)


def contests(levels: pd.DataFrame, metric: str = "test_accuracy") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return comparisons of the choices of each axis of the grid, and of the arms, in each setting of all the rest.

    There are two tables: of areas, and of each level. Both have `axis, left_name, right_name, setting`, the columns of
    `statistics.compare` (the first resampled too) and `p_holm` (corrected over the whole table). The first has
    `winner` (one of the names, or empty where the data cannot tell)`, seeds` and `seeds_for_size` (the seeds needed to
    see a difference as large as this one, and one of SIZE).
    """
    scores = pairing.scores(levels, metric)
    areas, curves = [], []
    for axis, left, right in _pairs(scores):
        pairs = pairing.paired(scores, left[1], right[1]).assign(axis=axis, left_name=left[0], right_name=right[0])
        if pairs.empty:
            continue
        curves.append(pairs)
        areas.append(statistics.area(pairs, _BY))
    if not curves:
        return pd.DataFrame(), pd.DataFrame(columns=[*_BY, "level"])
    whole = statistics.compare(pd.concat(areas, ignore_index=True), _BY, resampled=True)
    at_levels = statistics.compare(pd.concat(curves, ignore_index=True), [*_BY, "level"])
    p_holm = statistics.holm(whole["p"])
    better = np.where(whole["difference"] > 0, whole["left_name"], whole["right_name"])
    whole = whole.assign(
        p_holm=p_holm,
        winner=np.where(p_holm < _ALPHA, better, ""),
        seeds=list(map(statistics.seeds_needed, whole["sd"], whole["difference"])),
        seeds_for_size=[statistics.seeds_needed(sd, SIZE) for sd in whole["sd"]],
    )
    return whole, at_levels.assign(p_holm=statistics.holm(at_levels["p"]))


def _pairs(scores: pd.DataFrame) -> Iterator[tuple[str, tuple[str, Side], tuple[str, Side]]]:
    """Yield the pairs to compare as (axis, (name, side), (name, side)), the choices in order of their mean score."""
    if scores.empty:
        return
    tickets = scores[scores["arm"].eq(TICKET)]
    for axis in view.varying(scores.drop(columns="value").drop_duplicates("key")):
        names = view.label(tickets, (axis,)).astype("str")
        by_value = dict(zip(names, tickets[axis].astype(object), strict=True))
        ranked = tickets["value"].groupby(names).mean().sort_values(ascending=False, kind="stable").index
        yield from _each(axis, {str(name): Side(_is(axis, by_value[name])) for name in ranked})
    yield from _each("arm", {arm: Side(arm=arm) for arm in ticket_first(scores["arm"].unique())})


def _each(axis: str, sides: Mapping[str, Side]) -> Iterator[tuple[str, tuple[str, Side], tuple[str, Side]]]:
    items = list(sides.items())
    pairs = list(itertools.combinations(items, 2))
    for left, right in pairs if len(pairs) <= MOST_PAIRS else [(items[0], other) for other in items[1:]]:
        yield axis, left, right


def _is(axis: str, value: object) -> dict[str, object]:
    return {axis: None if value != value else value}
