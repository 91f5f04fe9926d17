"""What the pairs of a study tell: effects over all settings and in each, and what depends on what.

A question is an axis of the grid, or the arms. Each question has three families of tests, corrected one by one: its
effects over all settings, its effects in each setting, and for each other axis whether they depend on that axis.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from multirun_analysis import statistics, view
from multirun_analysis.metrics import Metric
from multirun_analysis.report.choices import ARM, PAIR

# The level of corrected tests.
ALPHA = 1 - statistics.CONFIDENCE

# What the data tell of a difference, from the surest on.
BETTER = "better"  # told from 0 after correction
SMALL = "small"  # told to be within the metric's margin after correction
LEANS = "leans"  # the interval excludes 0, but not after correction
SMALL_ALONE = "small alone"  # the interval is within the margin, but not after correction
ALIKE = "alike"  # the same number in every seed
UNDECIDED = "undecided"
ONE_SEED = "one seed"
WORDS = (BETTER, SMALL, LEANS, SMALL_ALONE, ALIKE, UNDECIDED, ONE_SEED)


def effects(areas: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Return the effect of each pair of choices over all settings: a mean within each seed, then a t over seeds.

    areas: the first table of `choices.contests`. Columns: those of `told`, and `settings` (how many the mean is over)
    `of` (how many there are). Every seed has the same settings, by `statistics.whole`.
    """
    if areas.empty:
        return areas
    kept = areas.groupby(PAIR, observed=True, sort=False, group_keys=False)[list(areas.columns)].apply(statistics.whole)
    found = told(kept, PAIR, ["axis"], metric)
    by_pair = pd.DataFrame(
        {
            "settings": kept.groupby(PAIR, observed=True)["setting"].nunique(),
            "of": areas.groupby(PAIR, observed=True)["setting"].nunique(),
        }
    )
    return found.merge(by_pair.reset_index())


def in_settings(areas: pd.DataFrame, metric: Metric, *, resampled: bool = True) -> pd.DataFrame:
    """Return the effect of each pair of choices in each setting, by `told`."""
    if areas.empty:
        return areas
    settings = areas.groupby("axis", observed=True)["setting"].transform("nunique")
    rows = areas.assign(tests=areas["tests"] * settings)
    return told(rows, [*PAIR, "setting"], ["axis"], metric, resampled=resampled)


def at_each_level(at_levels: pd.DataFrame) -> pd.DataFrame:
    """Return the effect of each pair of choices at each level in each setting, by `statistics.compare`, and `p_holm`.

    at_levels: the second table of `choices.contests`. The correction is over all levels and pairs of an axis.
    """
    by = [*PAIR, "setting", "level"]
    if at_levels.empty:
        return at_levels
    found = statistics.compare(at_levels, by)
    return found.assign(p_holm=found.groupby("axis", observed=True)["p"].transform(statistics.holm))


def dependences(areas: pd.DataFrame, cells: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Return how the effect of each pair of choices differs between two values of another axis, by `told`.

    cells: the config of each `key`. `axis` has `left_name` and `right_name`, `other` the values `here` and `there`;
    `difference` is left less right here, less the same there, each seed by itself and averaged over the settings of
    all the rest. Of two axes that with more choices is `axis`; the arms always are.
    """
    every = []
    axes = [axis for axis in areas["axis"].unique() if axis != ARM]
    sizes = {axis: _choices(areas, axis) for axis in axes}
    for axis in areas["axis"].unique():
        of_axis = areas[areas["axis"].eq(axis)]
        for other in axes:
            if axis == ARM or (-sizes[axis], axes.index(axis)) < (-sizes[other], axes.index(other)):
                rest = [name for name in axes if name not in (axis, other)]
                every.append(_contrasts(of_axis, cells, other, rest))
    every = [one for one in every if len(one)]
    if not every:
        return pd.DataFrame()
    by = [*PAIR, "other", "here", "there"]
    return told(pd.concat(every, ignore_index=True), by, ["axis", "other"], metric)


def leader(effects: pd.DataFrame, metric: Metric) -> str:
    """Return the choice of an axis with the best mean effect over the others."""
    swapped = effects.assign(left_name=effects["right_name"], difference=-effects["difference"])
    every = pd.concat([effects, swapped])
    return str((metric.sign * every.groupby("left_name", sort=False)["difference"].mean()).idxmax())


def leaders(areas: pd.DataFrame, cells: pd.DataFrame, axis: str, other: str, metric: Metric) -> dict[str, str]:
    """Return value of another axis -> the choice of an axis that leads there."""
    of_axis = areas[areas["axis"].eq(axis)]
    values = view.label(cells, (other,)).set_axis(cells["key"].astype("str")).loc[of_axis["key"].astype("str")]
    groups = of_axis.groupby([values.to_numpy(), *PAIR[1:]], observed=True, sort=True)["difference"].mean()
    means = groups.rename_axis(["at", *PAIR[1:]]).reset_index()
    return {str(at): leader(group, metric) for at, group in means.groupby("at", observed=True)}


def told(
    pairs: pd.DataFrame, by: Sequence[str], family: Sequence[str], metric: Metric, *, resampled: bool = False
) -> pd.DataFrame:
    """Return what pairs tell of each `by`: the columns of `statistics.compare`, and what follows from them.

    `tests` (those that are corrected for, a column of `pairs`)`, p_holm, p_small` (`p` and `p_within`, each corrected
    within its `family`)`, word` (one of BETTER to ONE_SEED)`, seeds` (where LEANS or UNDECIDED,
    those that would tell if the difference and its deviation are what they seem, or the least difference worth seeing
    where that is larger; reckoned with the correction).
    """
    found = statistics.compare(pairs, list(by), margin=metric.margin, resampled=resampled)
    found = found.merge(pairs[[*by, "tests"]].drop_duplicates(list(by)))
    groups = found.groupby(list(family), observed=True, sort=False, group_keys=False)
    for corrected, p in (("p_holm", "p"), ("p_small", "p_within")):
        found[corrected] = pd.concat([statistics.holm(group[p], int(group["tests"].max())) for _, group in groups])
    word = np.select(
        [
            found["n"] < 2,
            found["p_holm"] < ALPHA,
            found["p_small"] < ALPHA,
            found["p"] < ALPHA,
            found["p_within"] < ALPHA,
            (found["low"] == found["high"]) & found["difference"].abs().lt(statistics.ALIKE),
        ],
        [ONE_SEED, BETTER, SMALL, LEANS, SMALL_ALONE, ALIKE],
        UNDECIDED,
    )
    open_ = np.isin(word, [LEANS, UNDECIDED])
    sought = found.loc[open_, ["sd", "difference", "tests"]].itertuples(index=False)
    seeds = [statistics.seeds_needed(sd, max(abs(size), metric.seen), tests=int(tests)) for sd, size, tests in sought]
    return found.assign(word=word, seeds=pd.Series(seeds, index=found.index[open_], dtype="float64"))


def _choices(areas: pd.DataFrame, axis: str) -> int:
    of_axis = areas[areas["axis"].eq(axis)]
    return len({*of_axis["left_name"], *of_axis["right_name"]})


def _contrasts(of_axis: pd.DataFrame, cells: pd.DataFrame, other: str, rest: Sequence[str]) -> pd.DataFrame:
    """Return the differences of one axis at one value of another less those at a second value, seed by seed."""
    at = cells.set_index(cells["key"].astype("str"))
    keys = of_axis["key"].astype("str")
    values = view.label(at, (other,)).loc[keys]
    rows = of_axis.assign(at=values.cat.codes.to_numpy(), rest=view.described(at, rest).loc[keys].to_numpy())
    match = [*PAIR, "rest", "seed"]
    both = rows.merge(
        rows[[*match, "at", "left", "right", "difference", "remaining"]], on=match, suffixes=("", "_there")
    )
    both = both[both["at"] < both["at_there"]]
    if both.empty:
        return both
    n = len(set(rows["at"]))
    names = values.cat.categories
    contrasts = both.assign(
        other=other,
        here=names[both["at"]],
        there=names[both["at_there"]],
        difference=both["difference"] - both["difference_there"],
        left=both["difference"],
        right=both["difference_there"],
        remaining=both[["remaining", "remaining_there"]].max(axis=1),
        tests=both["tests"] * (n * (n - 1) // 2),
    )
    by = [*PAIR, "here", "there"]
    return contrasts.groupby(by, observed=True, sort=False, group_keys=False)[list(contrasts.columns)].apply(
        statistics.whole, over="rest"
    )
