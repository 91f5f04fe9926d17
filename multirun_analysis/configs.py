"""From the resolved configs of many cells to one table: a row a cell, a column for each dotted name."""

import functools
from collections.abc import Mapping, Sequence
from importlib import resources

import pandas as pd
import yaml

from ltsweep.errors import BrokenFileError
from ltsweep.grid.flat import flatten
from ltsweep.grid.key import NEUTRAL, digest
from ltsweep.schema import SETTINGS
from ltsweep.words import shown
from multirun_analysis.schema import is_record

# Values of a config, and characters of a name: a config has a hundred values.
_MOST_VALUES, _MOST_NAME = 1_000, 200


# Characters of a text that a figure or a table shows.
_MOST_TEXT = 160


def values(config: Mapping[str, object]) -> dict[str, object]:
    """Return a resolved config as column -> value, by `ltsweep.grid.flat.flatten`.

    Settings are left out: they say where and how a cell was run, and the same cell may have several of each. A name
    that no config of this version has, or that is a measured column too, becomes `config.<name>`. A text too long to
    show is cut, and ends in a hash of the whole. Raises BrokenFileError for more than is shown of any config.
    """
    flat = flatten({name: value for name, value in config.items() if name not in SETTINGS})
    if len(flat) > _MOST_VALUES:
        raise BrokenFileError(f"has {len(flat):,} values, more than the {_MOST_VALUES:,} that are read")
    if long := [name for name in flat if len(name) > _MOST_NAME]:
        raise BrokenFileError(f"has the name {shown(long[0], 40)}, of more than {_MOST_NAME} characters")
    return {_column_name(name): _shown(value) for name, value in flat.items()}


def table(configs: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Return a row for each config that `values` gave, in that order; a value that a config lacks is null.

    Where it lacks a field that is younger than its cell, the value is what the code did before the field existed.

    Whole numbers are int64, numbers with nulls or fractions float64, true and false bool, all else categorical text.
    """
    names = dict.fromkeys(name for config in configs for name in config)
    before: dict[str, object] = {name: value for name, value in flatten(dict(NEUTRAL)).items() if name in names}
    whole = [{**before, **config} if config else config for config in configs]
    columns = {name: _column([config.get(name) for config in whole]) for name in names}
    return pd.DataFrame(columns, index=range(len(configs)))


@functools.cache
def names() -> frozenset[str]:
    """Return the names at the top of a cell's config: groups and values."""
    found = yaml.safe_load((resources.files("ltsweep.conf") / "config.yaml").read_text(encoding="utf-8"))
    groups = [name for entry in found.pop("defaults") if isinstance(entry, dict) for name in entry]
    return frozenset(name for name in (*found, *groups) if name not in SETTINGS and " " not in name)


def _column_name(name: str) -> str:
    known = name.partition(".")[0] in names() and not is_record(name)
    return shown(name, _MOST_NAME) if known else f"config.{shown(name, _MOST_NAME)}"


def _shown(value: object) -> object:
    """Return a value as a table has it: what is no number is text of one line, and other values are other texts."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    short = shown(text, _MOST_TEXT)
    return text if short == text else f"{short} #{digest(text)[:8]}"


def _column(column: list[object]) -> pd.Series:
    present = [value for value in column if value is not None]
    whole = len(present) == len(column)
    kinds = {type(value) for value in present}
    if whole and kinds == {bool}:
        return pd.Series(column, dtype="bool")
    if whole and kinds == {int} and all(-(2**63) <= value < 2**63 for value in present):  # type: ignore[operator]
        return pd.Series(column, dtype="int64")
    if kinds <= {int, float} and all(float(value) == value for value in present):  # type: ignore[arg-type]
        return pd.Series(column, dtype="float64")
    names = [None if value is None else str(value) for value in column]
    return pd.Series(names, dtype="str").astype("category")
