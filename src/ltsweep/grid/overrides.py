"""Numbers for the groups lr and prune_rate: `lr=0.1` on the command line means `lr.value=0.1`.

Hydra refuses a number for a config group, so the command rewrites it before Hydra sees it, by Hydra's own parser.
"""

import contextlib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, QuotedString, RangeSweep
from hydra.errors import HydraException

from ltsweep.errors import UserError
from ltsweep.grid.check import GROUPS
from ltsweep.schema import NUMBERED
from ltsweep.words import shown

# Brackets of an override that may be open at once: OmegaConf's functions call themselves some times for each.
_DEEPEST = 50

NAME_GROUPS = tuple(group for group in (*GROUPS, "experiment", "measure") if group not in NUMBERED)


def rewrite(arguments: Sequence[str]) -> list[str]:
    """Return the command's arguments with `lr=NUMBER` as `lr.value=NUMBER`, also in sweeps; all else unchanged.

    `seeds=N` becomes `seed=range(0,N)`. Raises UserError for a value of a group that is neither a name nor, for lr and
    prune_rate, a number. Raises it too where a sweep mixes names and numbers, since these set different fields of the
    config, and for an argument that is no text.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{shown(argument)} is no text: arguments are UTF-8") from error
    parser = OverridesParser.create()
    # Hydra's argument parser takes the flag only before or after all overrides; users put it anywhere.
    multirun = [argument for argument in arguments if argument in ("-m", "--multirun")]
    others = [argument for argument in arguments if argument not in multirun]
    return multirun[:1] + [_rewrite(argument, parser) for argument in _with_seeds(others)]


def _with_seeds(arguments: list[str]) -> list[str]:
    """Return the arguments with `seeds=N` as `seed=range(0,N)`. Raises UserError for another N, or beside `seed`."""
    names = [argument.partition("=")[0] for argument in arguments]
    for place in (place for place, name in enumerate(names) if name == "seeds"):
        said, count = shown(arguments[place]), arguments[place].partition("=")[2]
        if not re.fullmatch(r"[1-9][0-9]{0,17}", count):
            raise UserError(f"{said}: seeds is a whole number from 1; seeds=5 is short for seed=range(0,5)")
        if names.count("seeds") + names.count("seed") > 1:
            raise UserError(f"{said} is seed=range(0,{count}), and the seed is given twice; give one of the two")
        arguments[place] = f"seed=range(0,{count})"
    return arguments


def rewrite_params(params: Mapping[str, object]) -> dict[str, object]:
    """Return a sweep's parameters, name -> values as Hydra writes them, with `lr: NUMBERS` as `lr.value: NUMBERS`."""
    parser = OverridesParser.create()
    return {_rewrite(f"{name}={value}", parser).partition("=")[0]: value for name, value in params.items()}


def numbered(override: str) -> str:
    """Return `lr=NUMBER` as `lr.value=NUMBER`, since a user's own sweeper may write it so; all else unchanged."""
    name, _, value = override.partition("=")
    if name in NUMBERED:
        with contextlib.suppress(ValueError):
            float(value)
            return f"{name}.value={value}"
    return override


def _rewrite(argument: str, parser: OverridesParser) -> str:
    name, equals, value = argument.partition("=")
    group = name.lstrip("+")
    override = _parsed(argument, parser) if equals else None
    if override is None or group not in (*NUMBERED, *NAME_GROUPS):
        return argument
    members = elements(override)
    if group in GROUPS and any(isinstance(element, list) for element in members):  # Hydra would merge several choices
        raise UserError(f"{shown(argument)}: {group} is no list; a sweep has no brackets: {group}={_inside(value)}")
    numbers = [_is_number(element) for element in members]
    names = [isinstance(element, str | list | QuotedString | Glob) for element in members]
    if all(names):
        return argument
    if group in NAME_GROUPS:
        raise UserError(f"{shown(argument)}: {group} takes the name of a choice; python -m ltsweep --help lists them")
    if any(names) and any(numbers):
        raise UserError(
            f"{shown(argument)} mixes names and numbers; "
            f"sweep the names as {group}=..., and the numbers as {group}.value=..."
        )
    if not all(numbers):
        raise UserError(f"{shown(argument)}: {group} takes a number, or the name of a choice, which --help lists")
    return f"{name}.value={value}"


def _inside(value: str) -> str:
    return value.replace("[", "").replace("]", "")


def _parsed(argument: str, parser: OverridesParser) -> Override | None:
    """Return a parsed override, or None where Hydra's own error will show the place.

    Raises UserError where its parser would fail otherwise: for many brackets, or a number of thousands of digits.
    """
    steps = itertools.accumulate((one in "[{(") - (one in ")}]") for one in argument)
    if max(steps, default=0) > _DEEPEST:
        raise UserError(f"{shown(argument)} is nested too deeply: up to {_DEEPEST} brackets may be open at once")
    try:
        return parser.parse_override(argument)
    except HydraException:
        return None
    except ValueError as error:
        raise UserError(f"{shown(argument)} cannot be read: {shown(str(error))}") from error


def one_cell(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return overrides with the first value of every sweep, and those of them that were sweeps.

    Raises UserError for a sweep by a pattern of names, which only the folder of choices resolves.
    """
    overrides: list[Override] = OverridesParser.create().parse_overrides(list(arguments))
    firsts = {}
    for override in overrides:
        if override.is_sweep_override():
            first, name = elements(override)[0], override.get_key_element()
            if isinstance(first, Glob):
                raise UserError(f"{shown(override.input_line)}: one cell is shown; take {name}=NAME")
            firsts[override.input_line] = f"{name}={Override._get_value_element_as_str(first)}"
    return [firsts.get(argument, argument) for argument in arguments], list(firsts.values())


def elements(override: Override) -> list[Any]:
    """Return values of an override: all of a choice, the first of a range or an interval, or the value alone."""
    value = override.value()
    if isinstance(value, ChoiceSweep):
        return list(value.list)
    if isinstance(value, RangeSweep | IntervalSweep):
        return [value.start]
    return [value]


def _is_number(element: object) -> bool:
    return isinstance(element, int | float) and not isinstance(element, bool)
