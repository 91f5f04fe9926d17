"""The command that runs a cell again, from what sets its config apart from the defaults."""

import functools
import math
import shlex
from importlib import resources
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from multirun_analysis import configs, view

Choices = tuple[tuple[str, str], ...]


def commands(cells: pd.DataFrame, study: str) -> pd.Series:
    """Give for each row of a cells table the command that runs that cell; empty where its config cannot be read.

    `study` names the study, unless the table has it as a column. Only what differs from the defaults of the groups'
    choices is said. A choice that does not come with the package needs its `--config-dir`, and is said by name alone.
    """
    columns = [name for name in view.config_columns(cells) if name != "study"]
    rows = cells.astype(dict.fromkeys(columns, object))
    # Of several studies the column has their paths from the folder that holds them all.
    names = rows["study"].str.rpartition("/")[2] if "study" in rows else pd.Series(study, index=rows.index)
    return pd.Series(
        [
            "" if status == "unreadable" else _command(dict(zip(columns, values, strict=True)), str(name))
            for status, name, values in zip(rows["status"], names, rows[columns].itertuples(index=False), strict=True)
        ],
        index=cells.index,
        dtype="str",
    )


def _command(config: dict[str, Any], study: str) -> str:
    usual = dict(_groups())
    chosen = {group: str(config[_choice(group)]) for group in usual if _there(config.get(_choice(group)))}
    said = [f"{group}={choice}" for group, choice in chosen.items() if choice != usual[group]]
    defaults = _defaults(tuple(chosen.items()))
    for name, value in config.items():
        if name in map(_choice, usual) or _same(value, defaults.get(name)):
            continue
        group = name.partition(".")[0]
        if group in chosen and not _known(group, chosen[group]):
            continue
        said.append(f"{name}.value={_text(value)}" if name in configs.NUMBERED else f"{name}={_text(value)}")
    return " ".join(["python -m ltsweep", *(shlex.quote(override) for override in (*said, f"study={study}"))])


def _choice(group: str) -> str:
    """Name the column that holds a group's choice."""
    return f"{group}.name" if group in configs.NUMBERED else group


@functools.cache
def _groups() -> Choices:
    """Give the groups and their default choices, in the order of the defaults list."""
    entries = OmegaConf.to_container(_load("config.yaml").defaults)
    assert isinstance(entries, list)
    pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    return tuple((str(group), str(choice)) for group, choice in pairs if not str(group).startswith("override "))


@functools.cache
def _defaults(chosen: Choices) -> dict[str, object]:
    """Give the values of a config in which only choices are made; of an unknown choice those of the default one."""
    config = _load("config.yaml")
    for name in ("defaults", "hydra"):
        config.pop(name, None)
    for group, choice in chosen:
        config[group] = _load(f"{group}/{choice if _known(group, choice) else dict(_groups())[group]}.yaml")
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    return configs.values({str(name): value for name, value in found.items()})


@functools.cache
def _known(group: str, choice: str) -> bool:
    return (resources.files("ltsweep.conf") / group / f"{choice}.yaml").is_file()


def _load(name: str) -> Any:
    return OmegaConf.create((resources.files("ltsweep.conf") / name).read_text())


def _there(value: object) -> bool:
    return value is not None and value == value  # NaN is how a column of numbers says null


def _same(value: object, default: object) -> bool:
    if not _there(value) or not _there(default):
        return not _there(value) and not _there(default)
    if isinstance(value, int | float) and isinstance(default, int | float):
        return math.isclose(value, default, rel_tol=1e-12)
    # A column that holds words and numbers holds both as text.
    return str(value) == str(default)


def _text(value: Any) -> str:
    if not _there(value):
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
