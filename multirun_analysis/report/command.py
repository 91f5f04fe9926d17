"""The command that runs a cell again: what sets its config apart from the defaults."""

import functools
import math
import re
import shlex
from collections.abc import Mapping
from importlib import resources
from typing import Any

import pandas as pd
import yaml

from ltsweep.schema import KEY, NUMBERED, SETTINGS
from ltsweep.words import shown
from multirun_analysis import configs, view
from multirun_analysis.schema import CONFIG_COLUMN, UNREADABLE

Choices = tuple[tuple[str, str], ...]

# Stands in a command for the folder of the user's own choices, which no record has.
OWN = "MY_CONF"

# `${dataset.validation}`, or `${oc.select:model.negative_slope,0.01}` with a value where there is no such name.
_REFERENCE = re.compile(r"\$\{(?:oc\.select:)?([\w.]+)(?:,(.*))?\}")


# What a command may say of a record: names of letters and digits, and values that Hydra takes as plain words. Anything
# else in a stranger's config could be code to Hydra or to the shell that the command is copied to.
_NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*", re.ASCII)
_CHOICE = re.compile(r"\w[\w-]{0,99}", re.ASCII)
_ITEM = r"[\w.+-]{1,100}"
_TICKET = rf"\w[\w.-]{{0,99}}/{KEY}@[0-9]{{1,4}}"
_VALUE = re.compile(rf"{_ITEM}( {_ITEM}){{0,9}}|\[({_ITEM}(,{_ITEM}){{0,99}})?\]|{_TICKET}", re.ASCII)


def commands(cells: pd.DataFrame, study: str) -> pd.DataFrame:
    """Return for each row of a cells table the `command` that runs that cell, or `why` there is none.

    `study` names the study, unless the table has it as a column. Values that are the defaults of the groups' choices
    are left out. A choice that does not come with the package has its name alone, and `--config-dir` with OWN in place
    of the folder that it is in.
    """
    columns = [name for name in view.config_columns(cells) if name not in ("study", CONFIG_COLUMN)]
    rows = cells.astype(dict.fromkeys(columns, object))
    # Of several studies the column has their paths from the folder that holds them all.
    names = rows["study"].str.rpartition("/")[2] if "study" in rows else pd.Series(study, index=rows.index)
    found = [
        _asked(status, dict(zip(columns, values, strict=True)), str(name))
        for status, name, values in zip(rows["status"], names, rows[columns].itertuples(index=False), strict=True)
    ]
    return pd.DataFrame(found, index=cells.index, columns=["command", "why"], dtype="str")


def _asked(status: str, config: dict[str, Any], study: str) -> tuple[str, str]:
    """Return the command of a cell, or nothing and why."""
    if status == UNREADABLE:
        return "", "it cannot be read"
    try:
        return _command(config, study), ""
    except _NoCommandError as error:
        return "", f"no command says {shown(str(error), 80)}"


class _NoCommandError(Exception):
    """A name or a value is none that a command can have; never leaves this file."""


def _command(config: dict[str, Any], study: str) -> str:
    for name, value in config.items():
        if _there(value) and not (_NAME.fullmatch(name) and view.group(name) in configs.names()):
            raise _NoCommandError(name)
    for name in map(_choice, dict(_groups())):
        if _there(config.get(name)) and not _CHOICE.fullmatch(str(config[name])):
            raise _NoCommandError(f"{name}={config[name]}")
    usual = dict(_groups())
    chosen = {group: str(config[_choice(group)]) for group in usual if _there(config.get(_choice(group)))}
    said = [f"{group}={choice}" for group, choice in chosen.items() if choice != usual[group]]
    defaults = _defaults(tuple(chosen.items()))
    for name, value in config.items():
        if name in map(_choice, usual) or _same(value, defaults.get(name)):
            continue
        group = view.group(name)
        if group in chosen and not _known(group, chosen[group]):
            continue
        said.append(f"{name}.value={_text(value)}" if name in NUMBERED else f"{name}={_text(value)}")
    for override in (*said, f"study={study}"):
        if not _VALUE.fullmatch(override.partition("=")[2]):
            raise _NoCommandError(override)
    start = ["python -m ltsweep"]
    if not all(_known(group, choice) for group, choice in chosen.items()):
        start.append(f"--config-dir {OWN}")
    return " ".join([*start, *(shlex.quote(override) for override in (*said, f"study={study}"))])


def _choice(group: str) -> str:
    """Return the column that holds a group's choice."""
    return f"{group}.name" if group in NUMBERED else group


@functools.cache
def _groups() -> Choices:
    """Return the groups of a cell and their default choices, empty for none, in the order of the defaults list."""
    entries = _load("config.yaml")["defaults"]
    pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    groups = [(str(group), str(choice or "")) for group, choice in pairs if group not in SETTINGS]
    return tuple((group, choice) for group, choice in groups if not group.startswith("override "))


@functools.cache
def _defaults(chosen: Choices) -> dict[str, object]:
    """Return the values of a config in which only choices are made; of an unknown choice those of the default one."""
    config = {name: value for name, value in _load("config.yaml").items() if name not in ("defaults", *SETTINGS)}
    for group, choice in chosen:
        if shipped := choice if _known(group, choice) else dict(_groups())[group]:
            config[group] = _load(f"{group}/{shipped}.yaml")
    return configs.values(_resolved(config, config))


@functools.cache
def _known(group: str, choice: str) -> bool:
    return bool(_CHOICE.fullmatch(choice)) and (resources.files("ltsweep.conf") / group / f"{choice}.yaml").is_file()


def _load(name: str) -> dict[str, Any]:
    found = yaml.safe_load((resources.files("ltsweep.conf") / name).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def _resolved(value: Any, root: Mapping[str, Any]) -> Any:
    """Return a value of the config with references to other values resolved.

    Read here rather than by OmegaConf, which the analysis does without. A reference of another kind stays as it is: no
    value of a cell equals it, so that the command has the cell's own.
    """
    if isinstance(value, dict):
        return {name: _resolved(inner, root) for name, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, root) for inner in value]
    if not isinstance(value, str) or not (reference := _REFERENCE.fullmatch(value)):
        return value
    found: Any = root
    for name in reference[1].split("."):
        if not isinstance(found, dict) or name not in found:
            return value if reference[2] is None else yaml.safe_load(reference[2])
        found = found[name]
    return _resolved(found, root)


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
