"""From the resolved configs of many cells to a table: a row a cell, a column a value, by its dotted name."""

from collections.abc import Mapping, Sequence

import pandas as pd

from multirun_analysis.schema import RECORD_COLUMNS

# Groups known by their number; what kind they are stands in `<group>.name`.
NUMBERED = ("lr", "prune_rate")

# Where and how a cell was run, not what was run: the same cell may have several of these.
_NOT_COLUMNS = frozenset({"study", "device", "data_dir", "force"})


def values(config: Mapping[str, object]) -> dict[str, object]:
    """Flatten one resolved config to {dotted name: scalar}; a group stands under its own name as its choice.

    `{"seed": 0, "init": {"name": "xavier_u", "gain": 1.0}, "lr": {"name": "constant", "value": 0.1}}` becomes
    `{"seed": 0, "init": "xavier_u", "init.gain": 1.0, "lr": 0.1, "lr.name": "constant"}`. Lists become text
    as the command line writes them (`[reinit,random_mask]`); Hydra's own keys (`_target_`, ...) are left out.
    """
    flat: dict[str, object] = {}
    for name, value in config.items():
        if name in _NOT_COLUMNS:
            continue
        for column, scalar in _flatten(name, value).items():
            if column in RECORD_COLUMNS:  # never let a config value take the place of a measured one
                column = f"config.{column}"
            flat[column] = scalar
    return flat


def table(configs: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """One row for each config given by `values`, in that order; a value that a config lacks is null.

    Whole numbers are int64, numbers with nulls or fractions float64, true/false bool, all else categorical
    text.
    """
    names = dict.fromkeys(name for config in configs for name in config)
    return pd.DataFrame(
        {name: _column([config.get(name) for config in configs]) for name in names}, index=range(len(configs))
    )


def _flatten(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        return {name: _text(value) if isinstance(value, list) else value}
    flat: dict[str, object] = {}
    used: set[str] = set()
    if name in NUMBERED:
        flat, used = {name: value.get("value"), f"{name}.name": value.get("name")}, {"name", "value"}
    elif "name" in value:
        flat, used = {name: value["name"]}, {"name"}
    for key, inner in value.items():
        if key not in used and not str(key).startswith("_"):
            flat |= _flatten(f"{name}.{key}", inner)
    return flat


def _text(value: object) -> str:
    return f"[{','.join(_text(item) for item in value)}]" if isinstance(value, list) else str(value)


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
