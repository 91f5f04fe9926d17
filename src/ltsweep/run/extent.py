"""How far a cell goes and what is trained beside its ticket: what its records lack of that, from statuses alone. Pure.

A cell's extent is its `levels`, `method.controls` and `method.draws`. No level is another by them, so they are not in
the key, and a cell grows: its records say of each arm the last level that they have of it.
"""

import copy
import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.method.axes import Length, Method
from ltsweep.run.build import make
from ltsweep.schema import DIVERGED, DONE, TICKET_ARM
from ltsweep.words import shown

# The fields of a cell's status.json; key -> these.
Status = Mapping[str, Any]
Statuses = Mapping[str, Status]


def first_lacking(method: Method, levels: int, arms: Mapping[str, int]) -> int | None:
    """Return the first level that lacks an arm of the method; None if all levels have all.

    arms: arm -> the last level there is of it, as status.json has them.
    """
    for level in range(levels + 1):
        if any(arms.get(str(arm), -1) < level for arm in method.arms(level)):
            return level
    return None


def lacks(cell: Cell, status: Status) -> int | None:
    """Return the first level of which a cell's records lack what is asked; None if nothing is left to compute."""
    if status["status"] == DIVERGED:
        return None
    return first_lacking(method_of(cell), cell.config["levels"], status.get("arms", {}))


def unfinished(cells: Iterable[Cell], statuses: Statuses) -> list[Cell]:
    """Return the cells that have something left to compute."""
    return [cell for cell in cells if lacks(cell, statuses[cell.key]) is not None]


def as_asked(cell: Cell, status: Status) -> Status:
    """Return a status as the answer to what is asked: a cell that goes further than that is done."""
    levels = cell.config["levels"]
    goes_on = status["status"] == DIVERGED and status["level"] <= levels
    if goes_on or lacks(cell, status) is not None:
        return status
    return {**status, "status": DONE, "level": levels, "error": None}


def done_by_all(statuses: Iterable[Status]) -> dict[str, int]:
    """Return arm -> the last level that the records of all cells have of it."""
    every = [status.get("arms", {}) for status in statuses]
    return {arm: min(arms[arm] for arms in every) for arm in every[0] if all(arm in arms for arms in every)}


def trainings(cell: Cell, status: Status) -> tuple[int, int]:
    """Return the numbers of networks that a cell trains over all its levels: asked for, and of those on record."""
    arms, method = status.get("arms", {}), method_of(cell)
    asked = [(str(arm), level) for level in range(cell.config["levels"] + 1) for arm in method.arms(level)]
    return len(asked), sum(arms.get(arm, -1) >= level for arm, level in asked)


def steps(cell: Cell, status: Status, length: Length) -> tuple[int, int]:
    """Return the optimizer steps of a cell, summed over its networks: asked for, and of those on record."""
    arms, method = status.get("arms", {}), method_of(cell)
    asked = there = 0
    for level in range(cell.config["levels"] + 1):
        each, named = length.steps - method.first(level, length), method.arms(level)
        asked += each * len(named)
        there += each * sum(arms.get(str(arm), -1) >= level for arm in named)
    return asked, there


def together(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return one cell for each key, which goes as far as any of its cells, with all their controls and draws.

    Raises UserError where a control has two definitions.
    """
    found: dict[str, Cell] = {}
    for cell in cells:
        before = found.get(cell.key, cell)
        found[cell.key] = before if before.config == cell.config else _grown(before, cell.config)
    return tuple(found.values())


def described(cell: Cell, recorded: Mapping[str, Any] | None, status: Status) -> Cell:
    """Return the cell with a config that describes its records too, once they have what is asked.

    recorded: the config on record, None without one.
    """
    arms = status.get("arms", {})
    if recorded is None or not arms:
        return cell
    controls = [one for one in recorded["method"].get("controls", []) if any(_name(arm) == _named(one) for arm in arms)]
    there = {
        "levels": arms.get(TICKET_ARM, 0),
        "method": {"controls": controls, "draws": 1 + max(int(arm.rpartition("/")[2]) for arm in arms)},
    }
    return _grown(cell, there)


def check_definitions(cell: Cell, status: Status, recorded: Callable[[], Mapping[str, Any] | None]) -> None:
    """Raise UserError where a cell has levels of a control of the user's own that was defined otherwise.

    recorded: returns the config on record. The names of the other controls stand for one function each.
    """
    names = {_name(arm) for arm in status.get("arms", {})}
    own = {_named(one): one for one in cell.config["method"].get("controls", []) if not isinstance(one, str)}
    if not own.keys() & names:
        return
    before = {_named(one): one for one in ((recorded() or {}).get("method") or {}).get("controls", [])}
    for name in sorted(own.keys() & names):
        if before.get(name) != own[name]:
            raise UserError(
                f"method.controls: {shown(name)} is {shown(own[name])}, and cell {cell.key} has levels of "
                f"{shown(before.get(name))} under that name; give it another name, another study=NAME, or force=true"
            )


def _grown(cell: Cell, other: Mapping[str, Any]) -> Cell:
    """Return a cell whose config covers the extent of another config too."""
    config: dict[str, Any] = copy.deepcopy(dict(cell.config))
    config["levels"] = max(config["levels"], other["levels"])
    method, theirs = config["method"], other["method"]
    if "draws" in method and "draws" in theirs:
        method["draws"] = max(method["draws"], theirs["draws"])
    if "controls" in method:
        names = {_named(one): one for one in method["controls"]}
        for one in theirs.get("controls", []):
            if names.setdefault(_named(one), one) != one:
                raise UserError(f"method.controls: {shown(_named(one))} has two definitions; give one another name")
        method["controls"] = list(names.values())
    return replace(cell, config=config)


def _named(control: object) -> str:
    """Return the name of a control as a config has it: its own, or that of its function."""
    target = control.get("_target_", "") if isinstance(control, Mapping) else control
    return str(target).rpartition(".")[2]


def _name(arm: str) -> str:
    return arm.rpartition("/")[0]


def method_of(cell: Cell) -> Method:
    """Return a cell's method."""
    return _made(json.dumps(cell.config["method"]))


@functools.lru_cache(maxsize=1_000)  # grids ask for each cell's method many times, and most cells have one
def _made(method: str) -> Method:
    made: Method = make({"method": json.loads(method)}, "method")
    return made
