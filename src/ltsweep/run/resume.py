"""The stack with which each unfinished cell resumes, from the statuses alone. Pure functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ltsweep.grid.cell import Cell
from ltsweep.run.packing import pack, stack_id
from ltsweep.schema import FINISHED
from ltsweep.store.checkpoints import stack_name

# Key -> the fields of a cell's status.json.
Statuses = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Stack:
    """Cells that train as one program.

    name, keys: of the cells with which the stack began; both stay when cells leave. packed: what decided that these
    cells are together. ballast: keys of finished cells, which train along so that the stack keeps its size, and of
    which nothing is written.
    """

    name: str
    cells: tuple[Cell, ...]
    keys: tuple[str, ...]  # sorted
    packed: Mapping[str, Any] = field(default_factory=dict)
    ballast: frozenset[str] = frozenset()

    @property
    def writers(self) -> tuple[Cell, ...]:
        """Return the cells whose records the stack writes."""
        return tuple(cell for cell in self.cells if cell.key not in self.ballast)

    @property
    def facts(self) -> dict[str, Any]:
        """Return the fields of status.json that say which stack a cell is in."""
        keys = list(self.keys)
        return {"stack": self.name, "stack_cells": len(keys), "stack_keys": keys, "packed": dict(self.packed)}


def new_stack(cells: Sequence[Cell], packed: Mapping[str, Any]) -> Stack:
    """Return the stack that begins with these cells."""
    return Stack(stack_id(cells), tuple(cells), tuple(sorted(cell.key for cell in cells)), packed)


def stacks_of(
    cells: Sequence[Cell], statuses: Statuses, stack_size: int, auto: Callable[[Cell], int], workers: int
) -> list[Stack]:
    """Return the stacks to run: those that earlier commands began, and new stacks of the other cells.

    stack_size: networks. 0 is auto: `auto(cell)` networks, shared out among `workers`, which a given size ignores.
    """
    begun, rest = begun_stacks(cells, statuses)
    if stack_size:
        return begun + [new_stack(packed, {"stack_size": stack_size}) for packed in pack(rest, lambda _: stack_size, 1)]
    largest = {key: auto(cell) for key, cell in {cell.stack_key: cell for cell in rest}.items()}
    packs = pack(rest, lambda cell: largest[cell.stack_key], workers)
    how = {"stack_size": "auto", "workers": workers}
    return begun + [new_stack(packed, how | {"largest": largest[packed[0].stack_key]}) for packed in packs]


def begun_stacks(cells: Sequence[Cell], statuses: Statuses) -> tuple[list[Stack], list[Cell]]:
    """Return the stacks that earlier commands began, and the unfinished cells outside these stacks.

    A stack resumes under its name if it is whole, since other stack sizes give other rounding: each cell with which it
    began is here, and is unfinished in this stack, or finished and free to be its ballast. Cells that diverged before
    the level at which the stack resumes have left it. The unfinished cells of a stack that is not whole go on as a
    stack of their own, or are packed anew if they lack level 0.

    statuses: also those of `mates_of`, for the cells that have left.
    """
    here = {cell.key for cell in cells}
    named: dict[str, list[Cell]] = {}  # name of a stack -> the cells that were in it last
    for cell in cells:
        if "stack" in statuses[cell.key]:
            named.setdefault(statuses[cell.key]["stack"], []).append(cell)
    begun: list[Stack] = []
    taken: set[str] = set()  # a cell is ballast once: tasks of a cluster hold their cells
    for name, last in named.items():
        keys = _keys(name, last, statuses)
        last = [cell for cell in last if not keys or cell.key in keys]
        going = [cell for cell in last if not _is_finished(statuses[cell.key])]
        if not going:
            continue
        resumes = min(int(statuses[cell.key]["level"]) for cell in going) + 1
        kept = {key for key in keys if not _has_left(statuses.get(key), resumes)}
        writers = {cell.key for cell in going}
        ballast = kept - writers
        whole = writers <= kept and ballast <= here - taken and all(_is_finished(statuses[key]) for key in ballast)
        if whole:
            members = tuple(cell for cell in cells if cell.key in kept)
            begun.append(Stack(name, members, keys, statuses[going[0].key].get("packed", {}), frozenset(ballast)))
            taken |= ballast
        elif resumes:
            begun.append(new_stack(going, {"left": name}))
    placed = {cell.key for stack in begun for cell in stack.writers}
    return begun, [cell for cell in cells if cell.key not in placed and not _is_finished(statuses[cell.key])]


def _keys(name: str, last: Sequence[Cell], statuses: Statuses) -> tuple[str, ...]:
    """Return the keys of the cells with which a stack began, sorted; empty where records do not tell.

    The keys that make the stack's name are the right ones, whatever else a record says. Older records have no keys:
    then the cells that were in the stack last must be all of it.
    """
    noted = [statuses[cell.key]["stack_keys"] for cell in last if "stack_keys" in statuses[cell.key]]
    every = [tuple(sorted(keys)) for keys in (*noted, [cell.key for cell in last])]
    return next((keys for keys in every if stack_name(keys) == name), ())


def _is_finished(status: Mapping[str, Any]) -> bool:
    return status["status"] in FINISHED


def _has_left(status: Mapping[str, Any] | None, resumes: int) -> bool:
    """Return whether a cell ended before the level at which its stack resumes."""
    return status is not None and _is_finished(status) and int(status["level"]) < resumes
