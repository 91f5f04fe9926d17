"""What a grid would take, reckoned before it is computed from the records of like cells. Pure functions.

Cells are alike if they may share a stack: equal in all but seed, initialization, pruning rate, learning rate and weight
decay. Work is counted in trainings, one network at one level each. A cell's record has the seconds of its own share of
its stack, so a stack takes the sum over its cells, and stacks side by side share the workers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ltsweep.grid.cell import Cell
from ltsweep.run.build import make
from ltsweep.run.resume import Stack, Statuses
from ltsweep.schema import DIVERGED, FAILED, FINISHED, INITIAL, RUNNING
from ltsweep.show.reckoning import Like, Reckoning

# A cell on record, and the fields of its status.json.
Record = tuple[Cell, Mapping[str, Any]]


def reckon(cells: Sequence[Cell], statuses: Statuses, stacks: Sequence[Stack], records: Iterable[Record]) -> Reckoning:
    """Return what `cells` would take, in the planned stacks of the unfinished ones.

    statuses: key -> fields of status.json, as the plan has them. records: all cells of the study.
    """
    todo = [cell for stack in stacks for cell in stack.writers]
    work = {key: _networks(cell) for key, cell in {cell.stack_key: cell for cell in todo}.items()}
    likes = _likes(work, records)
    known = [cell for cell in todo if cell.stack_key in likes]
    return Reckoning(
        cells=len(cells),
        finished=sum(statuses[cell.key]["status"] in FINISHED for cell in cells),
        begun=sum(_is_begun(statuses[cell.key]) for cell in todo),
        failed=sum(statuses[cell.key]["status"] == FAILED for cell in todo),
        todo=len(todo),
        stacks=tuple(len(stack.cells) for stack in stacks),
        likes=likes,
        unlike=len(todo) - len(known),
        seconds=tuple(_seconds(stack, statuses, likes, work) for stack in stacks),
        size=sum(max(0.0, likes[cell.stack_key].size - sum(_sizes(statuses[cell.key]))) for cell in known),
    )


def _networks(cell: Cell) -> list[int]:
    """Return the number of networks that a cell trains at each level."""
    method = make(cell.config, "method")
    return [len(method.arms(level)) for level in range(cell.config["levels"] + 1)]


def _likes(work: Mapping[str, Sequence[int]], records: Iterable[Record]) -> dict[str, Like]:
    """Return stack key -> what the records of such cells say; diverged cells, which ended early, say nothing.

    work: stack key -> networks at each level, of the cells to compute.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for cell, status in records:
        networks, done = work.get(cell.stack_key), int(status["level"]) + 1
        if networks is None or not done or status["status"] == DIVERGED or not status.get("seconds"):
            continue
        initial, others = _sizes(status)
        size = initial + others * len(networks) / done
        found.setdefault(cell.stack_key, []).append((status["seconds"] / sum(networks[:done]), size))
    means = {key: [sum(column) / len(said) for column in zip(*said, strict=True)] for key, said in found.items()}
    return {key: Like(len(found[key]), seconds, size) for key, (seconds, size) in means.items()}


def _seconds(stack: Stack, statuses: Statuses, likes: Mapping[str, Like], work: Mapping[str, Sequence[int]]) -> float:
    """Return the seconds of a stack from the level on at which it resumes: all its cells train from there."""
    key = stack.cells[0].stack_key
    if key not in likes:
        return 0.0
    first = min(int(statuses[cell.key]["level"]) for cell in stack.writers) + 1
    return len(stack.cells) * likes[key].seconds * sum(work[key][first:])


def _sizes(status: Mapping[str, Any]) -> tuple[int, int]:
    """Return the bytes of a cell's initial weights and of its other files, as its status notes them."""
    sizes = {name: int(noted[0]) for name, noted in status.get("files", {}).items()}
    initial = sizes.pop(INITIAL, 0)
    return initial, sum(sizes.values())


def _is_begun(status: Mapping[str, Any]) -> bool:
    return status["status"] not in (*FINISHED, FAILED) and (status["level"] >= 0 or status["status"] == RUNNING)
