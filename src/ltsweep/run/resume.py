"""Which stack a cell goes on with, from what the statuses say. Pure functions."""

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
    """Cells that train as one program. `name` is that of the stack as it was begun, also after cells have left it."""

    name: str
    cells: tuple[Cell, ...]


def stacks_of(cells: Sequence[Cell], statuses: Statuses, largest: Callable[[Cell], int], workers: int) -> list[Stack]:
    """Return the stacks to run: those that earlier commands began, as they were, and new ones for the other cells."""
    begun, rest = begun_stacks(cells, statuses)
    return begun + [Stack(stack_id(packed), packed) for packed in pack(rest, largest, workers)]


def begun_stacks(cells: Sequence[Cell], statuses: Statuses) -> tuple[list[Stack], list[Cell]]:
    """Return the stacks that earlier commands began, and the unfinished cells that are in none of them.

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
        reached = int(status["level"]) + (status["status"] not in FINISHED)  # the last level it ran, or its next one
        if name in members and reached >= resumes[name]:
            members[name].append(cell)
    # A stack that was only planned, and perhaps not wholly, is packed anew.
    begun = [Stack(name, tuple(kept)) for name, kept in members.items() if resumes[name] or stack_id(kept) == name]
    names = {stack.name for stack in begun}
    return begun, [cell for cell in todo if statuses[cell.key].get("stack") not in names]
