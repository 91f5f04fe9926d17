"""Which device, how many workers, and which cells train together."""

import hashlib
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence

from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.run.build import make
from ltsweep.run.memory import networks_cached, networks_in

# Networks a stack, for a model that does not say: beyond 8 there is nothing to gain on a CPU; a GPU wants many.
_LARGEST = {"cpu": 8, "cuda": 128}


def count(value: int | str, name: str, default: int) -> int:
    """Return a whole number given as a setting, or `default` for auto."""
    if value == "auto":
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{name}={value} is out of range: {name} is auto, or a whole number from 1")
    return value


def largest_stack(cell: Cell, kind: str, free: float = math.inf) -> int:
    """Return how many networks like a cell's are worth training as one program on a `cpu` or `cuda` device.

    That is what its model's YAML says, or fewer where the `free` bytes, or a CPU's caches, hold no more.
    """
    bounds = [cell.largest_stack.get(kind, _LARGEST[kind])]
    if free != math.inf:
        bounds.append(networks_in(cell, kind, free))
    if kind == "cpu":
        bounds.append(networks_cached(cell))
    return min(bounds)


def pack(cells: Sequence[Cell], largest: Callable[[Cell], int], workers: int) -> list[tuple[Cell, ...]]:
    """Split cells into stacks: equal in all that a stack must share, evenly filled.

    No stack holds more than `largest` networks of its cells (one cell's arms stay together). There are as many stacks
    for each worker as for any other, as far as the cells go, so that none waits at the end for the last one.
    """
    alike: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        alike[cell.stack_key].append(cell)
    stacks = []
    for group in alike.values():
        size, share = max(1, largest(group[0]) // arms(group[0])), max(1, workers // len(alike))
        parts = min(len(group), math.ceil(len(group) / size / share) * share)
        group = sorted(group, key=lambda cell: cell.optimizer_group)
        bounds = [round(i * len(group) / parts) for i in range(parts + 1)]
        stacks += [tuple(group[a:b]) for a, b in itertools.pairwise(bounds)]
    return stacks


def arms(cell: Cell) -> int:
    """Return how many networks a cell trains at once: its ticket and its controls."""
    return len(make(cell.config, "method").arms(1))


def stack_id(cells: Sequence[Cell]) -> str:
    """Return the name of a stack, from the keys of its cells."""
    return hashlib.sha256(" ".join(sorted(cell.key for cell in cells)).encode()).hexdigest()[:16]
