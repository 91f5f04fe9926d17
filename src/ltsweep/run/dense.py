"""The dense network that several cells share: who trains it, and who takes it over. Pure functions over statuses.

Level 0 does not depend on method, pruning rates, rewinding or controls, where a method begins with the dense network.
Cells that differ only in these have one level 0. One of them, the leader, trains it and keeps its weights; the others
take its rows and weights over and begin with level 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ltsweep.grid.cell import Cell
from ltsweep.grid.key import digest, without
from ltsweep.method.axes import TICKET, Length
from ltsweep.run.extent import Statuses, method_of
from ltsweep.schema import DENSE_KEY, EXTENT, TICKET_ARM, weights_file

_OF_LATER_LEVELS = ("method", "prune_rate", *EXTENT)


def dense_key(cell: Cell) -> str | None:
    """Return a hash that cells with the same level 0 have in common; None where more than that network is trained."""
    method = method_of(cell)
    alone = getattr(method, "begins_dense", False) and method.arms(0) == [TICKET]
    return digest(without(cell.config, *_OF_LATER_LEVELS)) if alone else None


def needed(cell: Cell, length: Length) -> set[int]:
    """Return the steps of level 0 whose weights a cell needs to begin with level 1: its method's, and the last."""
    return {*method_of(cell).keep(0, length), length.steps}


def followers(cells: Sequence[Cell], statuses: Statuses, length: Callable[[Cell], Length]) -> dict[str, str]:
    """Return key -> key of the cell that has the same level 0 on record, with all weights that are needed of it.

    Only for cells that lack level 0. statuses: key -> fields of status.json, of all cells of the study that may lead.
    """
    ready: dict[str, list[str]] = {}
    for key, status in statuses.items():
        if DENSE_KEY in status and has_dense(status):
            ready.setdefault(status[DENSE_KEY], []).append(key)
    found: dict[str, str] = {}
    for cell in cells:
        there = [] if has_dense(statuses[cell.key]) else ready.get(dense_key(cell) or "", [])
        if there:
            files = {weights_file(0, step) for step in needed(cell, length(cell))}
            leader = next((key for key in there if files <= statuses[key].get("files", {}).keys()), None)
            if leader is not None:
                found[cell.key] = leader
    return found


def leaders(
    cells: Sequence[Cell], statuses: Statuses, length: Callable[[Cell], Length]
) -> tuple[list[Cell], dict[str, list[int]]]:
    """Return the cells that train a level 0 for others too, as cells of that level alone; and key -> steps to keep.

    A cell that has begun leads before one that has not.
    """
    found, keep = [], {}
    for group in _groups(cells, statuses, length):
        first = next((cell for cell in group if "stack" in statuses[cell.key]), group[0])
        found.append(replace(first, config={**first.config, "levels": 0}))
        keep[first.key] = sorted(set().union(*(needed(cell, length(cell)) for cell in group)))
    return found, keep


def spared(cells: Sequence[Cell], statuses: Statuses, length: Callable[[Cell], Length]) -> set[str]:
    """Return the keys of the cells that lack level 0 and will not train it."""
    first, _ = leaders(cells, statuses, length)
    grouped = {cell.key for group in _groups(cells, statuses, length) for cell in group}
    return {*followers(cells, statuses, length), *grouped} - {cell.key for cell in first}


def _groups(cells: Sequence[Cell], statuses: Statuses, length: Callable[[Cell], Length]) -> list[list[Cell]]:
    """Return the cells that lack the same level 0, two or more of each, where no record has it."""
    taken = followers(cells, statuses, length)
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if not has_dense(statuses[cell.key]) and cell.key not in taken and (shared := dense_key(cell)):
            groups.setdefault(shared, []).append(cell)
    return [group for group in groups.values() if len(group) > 1]


def has_dense(status: Mapping[str, Any]) -> bool:
    """Return whether a cell has level 0 on record."""
    return int(status.get("arms", {}).get(TICKET_ARM, -1)) >= 0
