"""How many of the weights that remain two cells have in common, beside what chance gives. Tidy tables out."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ltsweep.errors import BrokenFileError
from ltsweep.schema import TICKET, ticket_file
from multirun_analysis import tickets
from multirun_analysis.densities import leaving_out
from multirun_analysis.load import Study
from multirun_analysis.pairing import SAME
from multirun_analysis.schema import COUNTED
from multirun_analysis.view import View, choice, described, group, label

# The axis of pairs of cells that differ in their seed alone.
SEED = "seed"

# Values of an axis that are all paired with each other; of more, each is paired with the first.
ALL_PAIRS = 5

# What stands between the two values of a pair.
_TO = " – "

# Number of ones in each byte.
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.int64)

_COLUMNS = ["axis", "panel", "line", "level", "remaining", "mean", "low", "high", "n", "expected", "shown", "choices"]


class Mask(NamedTuple):
    """The mask of a layer: one bit a weight, the layer's shape, and how many weights remain."""

    bits: NDArray[np.uint8]
    shape: tuple[int, ...]
    remaining: int


class _Pair(NamedTuple):
    """Two cells, by their keys, that differ in one axis alone.

    pair: the axis' values on both sides. setting: the values of all else.
    """

    axis: str
    pair: str
    setting: str
    one: str
    other: str


def packed(masks: Mapping[str, NDArray[np.bool_]]) -> dict[str, Mask]:
    """Return booleans, layer -> (*shape), at one bit a weight."""
    return {name: Mask(np.packbits(mask), mask.shape, int(mask.sum())) for name, mask in masks.items()}


def jaccard(one: Mapping[str, Mask], other: Mapping[str, Mask]) -> tuple[float, float] | None:
    """Return the Jaccard index of two cells' masks and the one expected by chance; None for other architectures.

    The index is the number of weights that remain in both over the number that remain in either. By chance, a and b
    weights at random places of a layer of n have a b / n in common; what is expected is the ratio of the two numbers'
    expectations, each summed over the layers.
    """
    if {name: mask.shape for name, mask in one.items()} != {name: mask.shape for name, mask in other.items()}:
        return None
    either = sum(mask.remaining + other[name].remaining for name, mask in one.items())
    if not either:
        return None
    both = sum(int(_ONES[mask.bits & other[name].bits].sum()) for name, mask in one.items())
    chance = sum(mask.remaining * other[name].remaining / max(math.prod(mask.shape), 1) for name, mask in one.items())
    return both / (either - both), chance / (either - chance)


def mask_overlap(study: Study, view: View, *, seeds_per_choice: int = 3, most_choices: int = 12) -> pd.DataFrame:
    """Return the Jaccard index of the tickets of pairs of cells that differ in one axis alone, at each level.

    Columns: `axis` (a group or name of the config, or `SEED`)`, panel, line` (of the two values of the axis and the
    values of all else, that of which there are fewer, and the other)`, level, remaining, mean, low, high` (the index
    over `n` pairs: a seed each, or of the axis `SEED` two seeds)`, expected` (mean of what chance gives)`, shown,
    choices` (how many choices are looked at, and how many there are).

    Of the first `most_choices` choices with masks on the disk the first `seeds_per_choice` seeds are read. An axis of
    more than `ALL_PAIRS` values has each paired with the first. Levels are paired with those of the same number and,
    within 2 %, the same weights remaining. Broken files are passed over, and `densities.left_out` names them.
    """
    remaining = _remaining(study)
    counted = study.cells[study.cells["key"].isin(list(remaining))]
    cells = counted if SEED in counted else counted.assign(seed=0)
    names = [str(name) for name in label(cells, view.choice).cat.categories] if len(cells) else []
    chosen = _with_masks(study, cells.assign(_choice=label(cells, view.choice)), remaining, seeds_per_choice)
    there = [name for name in names if name in set(chosen["_choice"])][:most_choices]
    chosen = chosen[chosen["_choice"].isin(there)]
    pairs = list(_pairs(chosen, view))
    broken: list[str] = []
    rows = []
    for level in sorted({level for key in chosen["key"] for level in remaining[key] if level}):
        masks = {key: _masks(study, key, level, broken) for key in chosen["key"] if level in remaining[key]}
        for pair in pairs:
            left = [remaining[key].get(level, math.nan) for key in (pair.one, pair.other)]
            if not abs(math.log(left[0] / left[1])) <= math.log1p(SAME):  # also where one has no such level
                continue
            if masks[pair.one] and masks[pair.other] and (found := jaccard(masks[pair.one], masks[pair.other])):
                rows.append((*pair[:3], level, sum(left) / 2, *found))
    columns = ["axis", "pair", "setting", "level", "remaining", "jaccard", "expected"]
    table = _placed(pd.DataFrame(rows, columns=columns), pairs)
    return leaving_out(table.assign(shown=len(there), choices=len(names))[_COLUMNS], broken)


def _remaining(study: Study) -> dict[str, dict[int, float]]:
    """Return key -> level -> weights remaining of the tickets, of cells that enter means."""
    levels = study.levels[study.levels["status"].isin(COUNTED) & study.levels["arm"].eq(TICKET)]
    found: dict[str, dict[int, float]] = {}
    for key, level, remaining in levels[["key", "level", "remaining"]].itertuples(index=False):
        if remaining > 0:
            found.setdefault(str(key), {})[int(level)] = float(remaining)
    return {key: of for key, of in found.items() if max(of) > 0}


def _with_masks(
    study: Study, cells: pd.DataFrame, remaining: Mapping[str, Mapping[int, float]], seeds: int
) -> pd.DataFrame:
    """Return the first cells of each choice, by their seeds, that have a mask on the disk."""
    there = [
        any((study.path / key / ticket_file(level)).is_file() for level in remaining[key] if level)
        for key in cells["key"]
    ]
    kept = cells[pd.Series(there, index=cells.index, dtype="bool")]  # an empty list would name no columns
    return kept.sort_values(SEED, kind="stable").groupby("_choice", observed=True).head(seeds)


def _pairs(cells: pd.DataFrame, view: View) -> Iterator[_Pair]:
    """Yield the pairs of cells that differ in one axis alone: first in their seeds, then in each axis of the grid.

    An axis is a column, or a group with its fields where the group's choice varies.
    """
    for named, those in cells.groupby("_choice", observed=True):
        for one, other in itertools.combinations(those["key"], 2):
            yield _Pair(SEED, str(named), "", one, other)
    axis_of = {name: group(name) if choice(name) in view.choice else name for name in view.choice}
    for axis in dict.fromkeys(axis_of.values()):
        own = tuple(name for name in view.choice if axis_of[name] == axis)
        rest = tuple(name for name in view.choice if axis_of[name] != axis)
        each = cells.assign(_value=label(cells, own), _rest=label(cells, rest), _setting=described(cells, rest))
        for (_, _, setting), those in each.groupby(["_rest", SEED, "_setting"], observed=True):
            by_value = those.sort_values("_value", kind="stable")[["_value", "key"]].itertuples(index=False)
            values = list(by_value)
            every = itertools.combinations(values, 2) if len(values) <= ALL_PAIRS else _with_first(values)
            for (a, one), (b, other) in every:
                yield _Pair(axis, f"{a}{_TO}{b}", str(setting), one, other)


def _with_first(values: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    return ((values[0], other) for other in values[1:])


def _masks(study: Study, key: str, level: int, broken: list[str]) -> dict[str, Mask]:
    """Return the masks of a cell's level; none where there is no file or, added to `broken`, a broken one."""
    try:
        return packed(tickets.masks(study.path / key, level))
    except BrokenFileError as error:
        broken.append(f"{key}: {error}")
        return {}


def _placed(rows: pd.DataFrame, pairs: Sequence[_Pair]) -> pd.DataFrame:
    """Return means over pairs, each axis with panels for that of `pair` and `setting` of which there are fewer."""
    few = rows.groupby("axis")[["pair", "setting"]].nunique()
    by_values = rows["axis"].map(few["pair"] <= few["setting"]).astype(bool)
    rows = rows.assign(
        panel=rows["pair"].where(by_values, rows["setting"]), line=rows["setting"].where(by_values, rows["pair"])
    )
    in_order = {text: None for pair in pairs for text in (pair.axis, pair.pair, pair.setting)}
    for name in ("axis", "panel", "line"):
        there = [text for text in in_order if text in set(rows[name])]
        rows[name] = pd.Categorical(rows[name], there, ordered=True)
    return (
        rows.groupby(["axis", "panel", "line", "level"], observed=True, sort=True)
        .agg(
            remaining=("remaining", "mean"),
            mean=("jaccard", "mean"),
            low=("jaccard", "min"),
            high=("jaccard", "max"),
            n=("jaccard", "size"),
            expected=("expected", "mean"),
        )
        .reset_index()
    )
