"""What a grid would take, reckoned before it is computed from the records of like cells. Pure functions.

Cells are alike if they may share a stack, however far they go: equal in all but seed, initialization, pruning rate,
learning rate, weight decay, levels and controls. Work is counted in trainings, one network at one level each. A cell's
record has the seconds of its own share of its stack, so a stack takes the sum over its cells, and stacks side by side
share the workers. On the disk a cell has its initial weights, a mask for each level and one to go on from, and tables
that grow by its trainings.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ltsweep.grid.cell import WITHIN_STACK, Cell
from ltsweep.grid.key import digest, without
from ltsweep.run.extent import Statuses, done_by_all, lacks, trainings
from ltsweep.run.resume import Stack
from ltsweep.schema import DIVERGED, EXTENT, FAILED, INITIAL, RUNNING, TICKETS, is_weights_file
from ltsweep.show.reckoning import Like, Reckoning

# A cell on record, and the fields of its status.json.
Record = tuple[Cell, Mapping[str, Any]]


def reckon(
    cells: Sequence[Cell],
    statuses: Statuses,
    stacks: Sequence[Stack],
    records: Iterable[Record],
    spared: Collection[str] = (),
) -> Reckoning:
    """Return what `cells` would take, in the planned stacks of the unfinished ones.

    statuses: key -> fields of status.json, as the plan has them. records: all cells of the study. spared: keys of cells
    that take level 0 of another cell.
    """
    todo = [cell for stack in stacks for cell in stack.writers]
    likes = _likes({_kind(cell): cell for cell in todo}, records)
    known = [cell for cell in todo if _kind(cell) in likes]
    return Reckoning(
        cells=len(cells),
        finished=sum(lacks(cell, statuses[cell.key]) is None for cell in cells),
        begun=sum(_is_begun(statuses[cell.key]) for cell in todo),
        failed=sum(statuses[cell.key]["status"] == FAILED for cell in todo),
        todo=len(todo),
        stacks=tuple(len(stack.cells) for stack in stacks),
        likes=likes,
        unlike=len(todo) - len(known),
        seconds=tuple(_seconds(stack, statuses, likes, spared) for stack in stacks),
        spared=len(spared),
        size=sum(max(0.0, likes[_kind(cell)].size - sum(_noted(statuses[cell.key]).values())) for cell in known),
    )


def _kind(cell: Cell) -> str:
    """Return a hash that like cells have in common."""
    return digest(without(cell.config, *WITHIN_STACK, *EXTENT))


def _likes(work: Mapping[str, Cell], records: Iterable[Record]) -> dict[str, Like]:
    """Return kind -> what the records of such cells say; diverged cells, which ended early, say nothing.

    work: kind -> a cell that is to be computed.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for cell, status in records:
        like = work.get(_kind(cell))
        if like is None or status["status"] == DIVERGED or not status.get("seconds") or not status.get("arms"):
            continue
        _, done = trainings(cell, status)
        found.setdefault(_kind(cell), []).append((status["seconds"] / done, _size(like, status, done)))
    means = {key: [sum(column) / len(said) for column in zip(*said, strict=True)] for key, said in found.items()}
    return {key: Like(len(found[key]), seconds, size) for key, (seconds, size) in means.items()}


def _size(cell: Cell, like: Mapping[str, Any], done: int) -> float:
    """Return the bytes that a cell will have once it is finished, by the status of a like cell of `done` trainings."""
    sizes = _noted(like)
    initial = sum(sizes.pop(name) for name in list(sizes) if name == INITIAL or is_weights_file(name))
    masks = [sizes.pop(name) for name in list(sizes) if name.startswith(f"{TICKETS}/")]
    mask = sum(masks) / len(masks) if masks else 0.0
    levels: int = cell.config["levels"]
    asked, _ = trainings(cell, {})
    return initial + mask * (levels + 1) + sum(sizes.values()) * asked / done


def _seconds(stack: Stack, statuses: Statuses, likes: Mapping[str, Like], spared: Collection[str]) -> float:
    """Return the seconds of a stack: all its cells train what one of them lacks, but each its own level 0 alone."""
    cell = stack.cells[0]
    if _kind(cell) not in likes:
        return 0.0
    done = done_by_all(statuses[one.key] for one in stack.writers)
    asked, there = trainings(cell, {"arms": done})
    level_0 = sum(one.key in spared for one in stack.writers)
    return likes[_kind(cell)].seconds * (len(stack.cells) * (asked - there) - level_0)


def _noted(status: Mapping[str, Any]) -> dict[str, int]:
    """Return file -> bytes, as a cell's status notes them."""
    return {name: int(noted[0]) for name, noted in status.get("files", {}).items()}


def _is_begun(status: Mapping[str, Any]) -> bool:
    return status["status"] != FAILED and (bool(status.get("arms")) or status["status"] == RUNNING)
