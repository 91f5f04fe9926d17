"""Two choices side by side: the same seed, the same values of all else that varies, the same weights remaining."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ltsweep.schema import TICKET
from multirun_analysis import curves, view
from multirun_analysis.schema import COUNTED

# Columns that are equal on both sides of a pair.
_KEYS = ["setting", "seed"]

# Columns of pairs.
_PAIRS = [*_KEYS, "key", "level", "remaining", "left", "right", "difference"]

# Greatest relative difference between the weights remaining of two levels that are paired: pruning rates may differ.
SAME = 0.02

# Greatest relative distance of a level from the weights remaining at which it is looked for.
NEAR = 0.12


@dataclass(frozen=True)
class Side:
    """One side of a comparison: which cells, and which of their scores.

    config: config column -> value, or a list of which any will do. arm: the ticket or a control. dense: the score of
    the cell before any pruning stands for every level. at: the score at the level nearest to these weights remaining,
    at most a part `NEAR` off and not the dense network, stands for every level. metric: that of this side, None for
    that of the comparison.
    """

    config: Mapping[str, object] = field(default_factory=dict)
    arm: str = TICKET
    dense: bool = False
    at: float | None = None
    metric: str | None = None

    @property
    def one_level(self) -> bool:
        """Return whether the score of one level stands for all."""
        return self.dense or self.at is not None


def scores(levels: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return one row for each (cell, arm, level) with a finite score, the draws of a control averaged.

    Columns: `key, arm, level, remaining, value, status` and the config values. `metric` is one of `curves.metrics`.
    Failed and diverged cells are left out, and levels at which no weights remain; of a running cell the finished
    levels are in.
    """
    counted = curves.final(levels[levels["status"].isin(COUNTED) & levels["remaining"].gt(0)])
    config = counted[["key", "status", *view.config_columns(levels)]].drop_duplicates("key")
    found = curves.mean_of_draws(counted, ["arm", "level"], ["remaining", metric]).rename(columns={metric: "value"})
    return found[np.isfinite(found["value"].astype("float64"))].merge(config, on="key")


def holds(df: pd.DataFrame, values: Mapping[str, object]) -> pd.Series:
    """Return for each row whether its config has all these values; false where it lacks one of the columns."""
    found = pd.Series(True, index=df.index)
    for name, value in values.items():
        found &= _equal(df[name], value) if name in df else False
    return found


def paired(found: pd.DataFrame, left: Side, right: Side, other: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the pairs of two sides of a table of `scores`, cell by cell and level by level.

    other: the right side's table, where its metric is another.

    Columns: `setting` (all else that varies, as `lr=0.1`; empty if nothing does)`, seed, key` and `level` (of the
    left side)`, remaining, left, right, difference` (left less right). A column that follows from a side, as
    `init.gain` from `init`, is not matched; every other one is. A score without its partner is left out.
    """
    one, two = chosen(found, left), chosen(found if other is None else other, right)
    settings = _settings(found, one, two, {*left.config, *right.config})
    one, two = (side.assign(setting=side["key"].astype("str").map(settings).astype("str")) for side in (one, two))
    one = one.assign(left=one["value"])[[*_KEYS, "key", "level", "remaining", "left"]]
    two = two.assign(right=two["value"])[[*_KEYS, "remaining", "right"]]
    if right.one_level:
        pairs = one.merge(two.drop(columns="remaining"), on=_KEYS)
    else:
        one, two = (side.assign(depth=-np.log(side["remaining"])).sort_values("depth") for side in (one, two))
        pairs = pd.merge_asof(
            one, two.drop(columns="remaining"), on="depth", by=_KEYS, direction="nearest", tolerance=np.log1p(SAME)
        ).dropna(subset="right")
    return (
        pairs.assign(difference=pairs["left"] - pairs["right"])
        .sort_values([*_KEYS, "level"], kind="stable")[_PAIRS]
        .reset_index(drop=True)
    )


def chosen(found: pd.DataFrame, side: Side) -> pd.DataFrame:
    """Return the rows of a table of `scores` that are of a side."""
    rows = found[found["arm"].eq(side.arm) & holds(found, side.config)]
    if side.dense:
        rows = rows[rows["level"].eq(0)]
    if side.at is not None:
        rows = rows[rows["level"].gt(0) | (side.at == 1)]  # a dense network is none that pruning or a mask has left
        rows = rows.assign(off=np.log(rows["remaining"] / side.at).abs()).sort_values("off", kind="stable")
        rows = rows[rows["off"].le(np.log1p(NEAR))].drop_duplicates("key").drop(columns="off")
    return rows if "seed" in rows else rows.assign(seed=0)


def _settings(found: pd.DataFrame, one: pd.DataFrame, two: pd.DataFrame, named: set[str]) -> pd.Series:
    """Return for each cell, by its key, the values that have to be equal on both sides, as text.

    Those are the values of all that varies anywhere in `found`, but for what follows from the `named` columns.
    """
    groups = {view.group(name) for name in named}
    cells = found.drop(columns="value").drop_duplicates("key")
    sides = [cells[cells["key"].isin(side["key"])] for side in (one, two)]
    own = [
        name
        for name in view.config_columns(cells)
        if view.group(name) in groups and all(_constant(side[name]) for side in sides)
    ]
    texts = view.described(cells, view.varying(cells.drop(columns=own)))
    return texts.set_axis(pd.Index(cells["key"].astype("str")))


def _constant(column: pd.Series) -> bool:
    return len(column.drop_duplicates()) <= 1


def _equal(column: pd.Series, value: Any) -> pd.Series:
    if isinstance(value, list | tuple):
        return pd.concat([_equal(column, one) for one in value], axis=1).any(axis=1)
    if value is None:
        return column.isna()
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return column.eq(value)
    text = column.astype("str")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return pd.to_numeric(text, errors="coerce").eq(value)  # where another config has a word, as init.gain may
    return text.eq(str(value))
