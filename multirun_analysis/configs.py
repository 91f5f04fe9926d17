"""From the resolved configs of many cells to one table: a row a cell, a column for each dotted name."""

from collections.abc import Mapping, Sequence

import pandas as pd

from ltsweep.grid.flat import flatten
from ltsweep.schema import SETTINGS
from multirun_analysis.schema import RECORD_COLUMNS


def values(config: Mapping[str, object]) -> dict[str, object]:
    """Return a resolved config as column -> value, by `ltsweep.grid.flat.flatten`.

    Settings are left out: they say where and how a cell was run, and the same cell may have several of each. A name
    that is a measured column too becomes `config.<name>`.
    """
    flat = flatten({name: value for name, value in config.items() if name not in SETTINGS})
    return {f"config.{name}" if name in RECORD_COLUMNS else name: value for name, value in flat.items()}


def table(configs: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Return a row for each config that `values` gave, in that order; a value that a config lacks is null.

    Whole numbers are int64, numbers with nulls or fractions float64, true and false bool, all else categorical text.
    """
    names = dict.fromkeys(name for config in configs for name in config)
    columns = {name: _column([config.get(name) for config in configs]) for name in names}
    return pd.DataFrame(columns, index=range(len(configs)))


def _column(column: list[object]) -> pd.Series:
    present = [value for value in column if value is not None]
    whole = len(present) == len(column)
    kinds = {type(value) for value in present}
    if whole and kinds == {bool}:
        return pd.Series(column, dtype="bool")
    if whole and kinds == {int}:
        return pd.Series(column, dtype="int64")
    if kinds <= {int, float}:
        return pd.Series(column, dtype="float64")
    names = [None if value is None else str(value) for value in column]
    return pd.Series(names, dtype="str").astype("category")
