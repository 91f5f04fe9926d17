"""The stack with which each unfinished cell resumes, from the statuses alone. Pure functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ltsweep.grid.cell import Cell
from ltsweep.run.packing import pack, stack_id
from ltsweep.schema import FINISHED

# Key -> the fields of a cell's status.json.
Statuses = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Stack:
    """Cells that train as one program. `name` is from the first start; it stays when cells leave the stack."""

    name: str
    cells: tuple[Cell, ...]


def stacks_of(cells: Sequence[Cell], statuses: Statuses, largest: Callable[[Cell], int], workers: int) -> list[Stack]:
    """Return the stacks to run: those that earlier commands began, unchanged, and new stacks of the other cells."""
    begun, rest = begun_stacks(cells, statuses)
    return begun + [Stack(stack_id(packed), packed) for packed in pack(rest, largest, workers)]


def begun_stacks(cells: Sequence[Cell], statuses: Statuses) -> tuple[list[Stack], list[Cell]]:
    """Return the stacks that earlier commands began, and the unfinished cells outside these stacks.

    A resumed stack keeps all its original cells: other stack sizes give other rounding. A cell that is already past the
    level at which the stack resumes repeats that level.
    """
    todo = [cell for cell in cells if statuses[cell.key]["status"] not in FINISHED]
    resumes: dict[str, int] = {}  # name of a stack -> the first level that some cell of it has not finished
    for cell in todo:
        name, level = statuses[cell.key].get("stack"), int(statuses[cell.key]["level"]) + 1
        if name:
            resumes[name] = min(level, resumes.get(name, level))
    members: dict[str, list[Cell]] = {name: [] for name in resumes}
    for cell in cells:
        status = statuses[cell.key]
        name = status.get("stack")
        reached = int(status["level"]) + (status["status"] not in FINISHED)  # its last level, or its next level
        if name in members and reached >= resumes[name]:
            members[name].append(cell)
    # A stack that was planned but never run is kept if all its cells are here; else its cells are packed anew.
    begun = [Stack(name, tuple(kept)) for name, kept in members.items() if resumes[name] or stack_id(kept) == name]
    names = {stack.name for stack in begun}
    return begun, [cell for cell in todo if statuses[cell.key].get("stack") not in names]
