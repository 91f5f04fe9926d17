"""The packing of cells into stacks: which cells train together, and how many."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.run.build import make
from ltsweep.run.memory import networks_cached, networks_in
from ltsweep.store.checkpoints import stack_name
from ltsweep.words import shown

# Largest stack, in networks, for a model whose YAML gives none: a CPU gains nothing beyond 8, a GPU needs many.
_LARGEST = {"cpu": 8, "cuda": 128}

# Largest value of the settings that are counts.
_MOST = {"workers": 1_024, "stack_size": 100_000}

T = TypeVar("T")


def count(value: int | str, name: str, default: int) -> int:
    """Return the whole number of setting `name`, `default` for auto. Raises UserError for any other value."""
    if value == "auto":
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST[name]:
        raise UserError(
            f"{name}={shown(value)} is out of range: {name} is auto, or a whole number from 1 to {_MOST[name]:,}"
        )
    return value


def largest_stack(cell: Cell, kind: str, free: float = math.inf) -> int:
    """Return the number of a cell's networks worth training as one program on a `cpu` or `cuda` device.

    The model's YAML gives the number. It is smaller if the `free` bytes, or a CPU's caches, hold fewer networks.
    """
    bounds = [cell.largest_stack.get(kind, _LARGEST[kind])]
    if free != math.inf:
        bounds.append(networks_in(cell, kind, free))
    if kind == "cpu":
        bounds.append(networks_cached(cell))
    return min(bounds)


def pack(cells: Sequence[Cell], largest: Callable[[Cell], int], workers: int) -> list[tuple[Cell, ...]]:
    """Return stacks of cells with equal `stack_key`, evenly filled.

    A stack holds at most `largest` networks, but at least one cell with all its arms. If there are cells enough, every
    worker gets equally many stacks, so that no worker waits at the end for another.
    """
    alike: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        alike[cell.stack_key].append(cell)
    stacks = []
    for group in alike.values():
        size, share = max(1, largest(group[0]) // arms(group[0])), max(1, workers // len(alike))
        parts = min(len(group), math.ceil(len(group) / size / share) * share)
        group = sorted(group, key=lambda cell: cell.optimizer_group)
        stacks += divided(group, parts)
    return stacks


def divided(items: Sequence[T], parts: int) -> list[tuple[T, ...]]:
    """Return the items in so many runs of neighbours, as equal in number as can be."""
    bounds = [round(i * len(items) / parts) for i in range(parts + 1)]
    return [tuple(items[a:b]) for a, b in itertools.pairwise(bounds)]


def arms(cell: Cell) -> int:
    """Return the number of networks that a cell trains at once: its ticket and its controls."""
    return len(make(cell.config, "method").arms(1))


def stack_id(cells: Iterable[Cell]) -> str:
    """Return the name of a stack, from the keys of its cells."""
    return stack_name(cell.key for cell in cells)
