"""The stack with which each unfinished cell resumes, from the statuses alone. Pure functions."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ltsweep.grid.cell import Cell
from ltsweep.run.extent import Statuses, lacks
from ltsweep.run.packing import pack, stack_id
from ltsweep.schema import DIVERGED
from ltsweep.store.checkpoints import stack_name


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
    cells: Sequence[Cell],
    statuses: Statuses,
    stack_size: int,
    auto: Callable[[Cell], int],
    workers: int,
    dense: Collection[str] = (),
) -> list[Stack]:
    """Return the stacks to run: those that earlier commands began, and new stacks of the other cells.

    stack_size: networks. 0 is auto: `auto(cell)` networks, shared out among `workers`, which a given size ignores.
    dense: keys of cells that take level 0 of another cell; they are in stacks of their own.
    """
    begun, rest = begun_stacks(cells, statuses)
    arms = {
        cell.key: (cell.key in dense, json.dumps(statuses[cell.key].get("arms", {}), sort_keys=True)) for cell in rest
    }
    alike = [[cell for cell in rest if arms[cell.key] == one] for one in dict.fromkeys(arms.values())]
    if stack_size:
        packs = [packed for cells in alike for packed in pack(cells, lambda _: stack_size, 1)]
        return begun + [new_stack(packed, {"stack_size": stack_size}) for packed in packs]
    largest = {key: auto(cell) for key, cell in {cell.stack_key: cell for cell in rest}.items()}
    packs = [packed for cells in alike for packed in pack(cells, lambda cell: largest[cell.stack_key], workers)]
    how = {"stack_size": "auto", "workers": workers}
    return begun + [new_stack(packed, how | {"largest": largest[packed[0].stack_key]}) for packed in packs]


def begun_stacks(cells: Sequence[Cell], statuses: Statuses) -> tuple[list[Stack], list[Cell]]:
    """Return the stacks that earlier commands began, and the unfinished cells outside these stacks.

    A stack resumes under its name if it is whole, since other stack sizes give other rounding: each cell with which it
    began is here, and has something left to compute in this stack, or nothing, and is free to be its ballast. Cells
    that diverged before the level at which the stack resumes have left it. The unfinished cells of a stack that is not
    whole go on as a stack of their own, or are packed anew if they lack level 0.

    statuses: also those of `mates_of`, for the cells that have left.
    """
    here = {cell.key: lacks(cell, statuses[cell.key]) for cell in cells}
    going_on = {key: level for key, level in here.items() if level is not None}
    named: dict[str, list[Cell]] = {}  # name of a stack -> the cells that were in it last
    for cell in cells:
        if "stack" in statuses[cell.key]:
            named.setdefault(statuses[cell.key]["stack"], []).append(cell)
    begun: list[Stack] = []
    taken: set[str] = set()  # a cell is ballast once: tasks of a cluster hold their cells
    for name, last in named.items():
        keys = _keys(name, last, statuses)
        last = [cell for cell in last if not keys or cell.key in keys]
        going = [cell for cell in last if cell.key in going_on]
        if not going:
            continue
        resumes = min(going_on[cell.key] for cell in going)
        kept = {key for key in keys if not _has_left(statuses.get(key), resumes)}
        writers = {cell.key for cell in going}
        ballast = kept - writers
        whole = writers <= kept and ballast <= here.keys() - taken - going_on.keys()
        if whole:
            members = tuple(cell for cell in cells if cell.key in kept)
            begun.append(Stack(name, members, keys, statuses[going[0].key].get("packed", {}), frozenset(ballast)))
            taken |= ballast
        elif resumes:
            begun.append(new_stack(going, {"left": name}))
    placed = {cell.key for stack in begun for cell in stack.writers}
    return begun, [cell for cell in cells if cell.key in going_on and cell.key not in placed]


def _keys(name: str, last: Sequence[Cell], statuses: Statuses) -> tuple[str, ...]:
    """Return the keys of the cells with which a stack began, sorted; empty where records do not tell.

    The keys that make the stack's name are the right ones, whatever else a record says. Older records have no keys:
    then the cells that were in the stack last must be all of it.
    """
    noted = [statuses[cell.key]["stack_keys"] for cell in last if "stack_keys" in statuses[cell.key]]
    every = [tuple(sorted(keys)) for keys in (*noted, [cell.key for cell in last])]
    return next((keys for keys in every if stack_name(keys) == name), ())


def _has_left(status: Mapping[str, Any] | None, resumes: int) -> bool:
    """Return whether a cell diverged before the level at which its stack resumes."""
    return status is not None and status["status"] == DIVERGED and int(status["level"]) < resumes
