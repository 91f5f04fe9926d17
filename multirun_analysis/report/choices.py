"""Every choice of a study against every other, seed by seed, and how all of them stand."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from ltsweep.schema import DONE, TICKET
from multirun_analysis import pairing, statistics, view
from multirun_analysis.metrics import Metric
from multirun_analysis.pairing import Side
from multirun_analysis.schema import ticket_first

# The question of the arms, beside those of the grid's axes.
ARM = "arm"

# Pairs of choices that are all compared, those of eight choices; of more, each is compared with the leading one.
MOST_PAIRS = 28

# Columns that tell one pair of choices from another.
PAIR = ["axis", "left_name", "right_name"]

# Columns of `contests`.
_COLUMNS = [*PAIR, "setting", "seed", "level", "remaining", "left", "right", "difference", "key", "tests"]


def standings(levels: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Return a row for each choice of all that varies and each arm, the best area first within an arm.

    Columns: `choice, arm, n` (cells)`, dense` (mean at level 0, the ticket's)`, area` (mean over the log of the weights
    remaining)`, low, high` (its t interval over seeds)`, floor` (the remaining that the areas go down to)`, to` (the
    remaining that the choice goes down to)`, matches` (the smallest remaining at which it still matches dense within
    the metric's margin, by `statistics.matching`).

    Areas are over the range that all choices of an arm share. An unfinished choice that has not got so far has none.
    """
    scores = pairing.scores(levels, metric.name)
    names = ["choice", "arm", "n", "dense", "area", "low", "high", "floor", "to", "matches"]
    found = []
    for arm in ticket_first(scores["arm"].unique()):
        side = Side(arm=arm)
        own = pairing.paired(scores, side, side).assign(right=0.0, difference=lambda df: df["left"])
        to = own.groupby("setting")["remaining"].min()
        ended = own[own["key"].isin(scores.loc[scores["status"].eq(DONE), "key"])]
        floor = (ended if len(ended) else own).groupby("setting")["remaining"].min().max()
        areas = statistics.compare(statistics.area(own, floor=floor), ["setting"]).set_index("setting")
        pairs = pairing.paired(scores, side, Side(dense=True))
        dense = pairs.groupby(["setting", "seed"])["right"].first().groupby("setting").mean()
        matches = statistics.matching(pairs, metric.margin, higher=metric.higher).set_index("setting")["remaining"]
        table = pd.DataFrame({"n": own.groupby("setting")["seed"].nunique()})
        table = table.assign(arm=arm, dense=dense, area=areas["left"], low=areas["low"], high=areas["high"])
        table = table.assign(floor=floor, to=to, matches=matches).rename_axis("choice").reset_index()
        found.append(table.sort_values(["area", "choice"], ascending=[not metric.higher, True], kind="stable"))
    return pd.concat(found, ignore_index=True)[names] if found else pd.DataFrame(columns=names)


def contests(levels: pd.DataFrame, metric: Metric) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the pairs of choices of each axis of the grid, and of the arms, in each setting of all the rest.

    There are two tables, both with PAIR, `setting, seed, level, remaining, left, right, difference, key` (of the left
    cell) and `tests` (the pairs of choices that the axis has): of areas, with a row a seed, and of each level. Areas
    are over the range of weights remaining that all choices of an axis share.
    """
    scores = pairing.scores(levels, metric.name)
    areas, at_levels = [], []
    for axis, tests, sides in _axes(scores, metric):
        pairs = [
            pairing.paired(scores, one, two).assign(axis=axis, left_name=left, right_name=right, tests=tests)
            for (left, one), (right, two) in sides
        ]
        at_levels.append(_stacked(pairs))
        areas.append(_areas(at_levels[-1]))
    return _stacked(areas), _stacked(at_levels)


def _stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    full = [table[_COLUMNS] for table in tables if len(table)]
    return pd.concat(full, ignore_index=True) if full else pd.DataFrame(columns=_COLUMNS)


def _areas(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the areas of the pairs of choices of one axis, in each setting over the range that all of them share."""
    curves = [*PAIR, "setting"]
    pairs = pairs[pairs.groupby(curves, observed=True)["level"].transform("nunique") > 1]
    reached = pairs.groupby(curves, observed=True)["remaining"].transform("min")
    floor = reached.groupby(pairs["setting"], observed=True).transform("max")
    keys = pairs[[*curves, "seed", "key"]].drop_duplicates([*curves, "seed"])
    return statistics.area(pairs, [*curves, "tests"], floor=floor).merge(keys, on=[*curves, "seed"])


def ended(levels: pd.DataFrame) -> pd.DataFrame:
    """Return the levels of cells that are done; all levels while none is, so that an unfinished study has answers."""
    done = levels[levels["status"].eq(DONE)]
    return done if len(done) else levels


Named = tuple[str, Side]


def _axes(scores: pd.DataFrame, metric: Metric) -> Iterator[tuple[str, int, list[tuple[Named, Named]]]]:
    """Yield each axis, how many pairs of choices it has, and those to compare, the best mean score first."""
    if scores.empty:
        return
    arms = {arm: Side(arm=arm) for arm in ticket_first(scores["arm"].unique())}
    yield (ARM, *_each(arms))
    tickets = scores[scores["arm"].eq(TICKET)]
    for axis in view.varying(scores.drop(columns="value").drop_duplicates("key")):
        names = view.label(tickets, (axis,)).astype("str")
        by_value = dict(zip(names, tickets[axis].astype(object), strict=True))
        means = tickets["value"].groupby(names).mean()
        ranked = means.sort_values(ascending=not metric.higher, kind="stable").index
        yield (axis, *_each({str(name): Side(_is(axis, by_value[name])) for name in ranked}))


def _each(sides: Mapping[str, Side]) -> tuple[int, list[tuple[Named, Named]]]:
    items = list(sides.items())
    pairs = list(itertools.combinations(items, 2))
    return len(pairs), pairs if len(pairs) <= MOST_PAIRS else [(items[0], other) for other in items[1:]]


def _is(axis: str, value: object) -> dict[str, object]:
    return {axis: None if value != value else value}
