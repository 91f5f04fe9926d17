"""What a grid would take, as `dry_run=true` shows it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ltsweep.grid.cell import WITHIN_STACK
from ltsweep.show.labels import bytes_, count_cells, duration
from ltsweep.show.page import page, plain

# Numbers of cells in a stack that are listed.
_SIZES = 6


@dataclass(frozen=True)
class Like:
    """The records of like cells. cells: how many. seconds: of one training. size: bytes of a finished cell."""

    cells: int
    seconds: float
    size: float


@dataclass(frozen=True)
class Reckoning:
    """What a grid would take.

    cells: all of it. finished, begun, failed: cells that are so; of all others nothing is there. todo: cells to
    compute. stacks: the number of cells in each, in their order. likes: stack key -> the records of like cells.
    seconds, size: of each stack, and bytes that the cells will add to the disk. Both leave out `unlike` cells, of which
    no like cell is on record. spared: cells that do not train level 0, since another cell has the same.
    """

    cells: int
    finished: int
    begun: int
    failed: int
    todo: int
    stacks: tuple[int, ...]
    likes: Mapping[str, Like]
    unlike: int
    seconds: tuple[float, ...]
    size: float
    spared: int = 0

    def elapsed(self, workers: int) -> float:
        """Return the seconds until the last stack ends, where each of `workers` takes the next as it ends one."""
        until = [0.0] * workers
        for seconds in self.seconds:
            until.sort()
            until[0] += seconds
        return max(until)


def print_reckoning(found: Reckoning, where: str, workers: int | None = None, again: bool = False) -> None:
    """Print a reckoning, a line for each kind of number.

    where: the stacks' place in words. workers: how many stacks are computed side by side, None where Slurm decides.
    again: finished cells are computed again.
    """
    lines = [f"cells   {_cells(found, again)}"]
    if found.todo:
        lines.append(f"stacks  {len(found.stacks)} {where}: {_stacks(found.stacks)}")
        if found.spared:
            takes = "takes" if found.spared == 1 else "take"
            lines.append(
                f"dense   {count_cells(found.spared)} {takes} the dense network of another, which is trained once"
            )
        lines += _time_and_disk(found, workers)
    page().print(plain("\n".join(f"  {line}" for line in lines)))


def print_head(study: Path, cells: int) -> None:
    """Print the line with which a dry run begins."""
    page().print(plain(f"{study}: {count_cells(cells)}; this is a dry run, which computes and writes nothing"))


def _cells(found: Reckoning, again: bool) -> str:
    new = found.todo - found.begun - found.failed
    kinds = ((found.begun, "begun"), (found.failed, "failed before"), (new, "new"))
    parts = [f"{count:,} {kind}" for count, kind in kinds if count]
    if again:
        return f"{found.todo:,} to compute: all (force=true)"
    return f"{found.finished:,} finished, {found.todo:,} to compute" + (f": {', '.join(parts)}" if parts else "")


def _stacks(sizes: tuple[int, ...]) -> str:
    counts = sorted(Counter(sizes).items(), reverse=True)
    listed = [f"{number:,} of {count_cells(size)}" for size, number in counts[:_SIZES]]
    return ", ".join(listed) + (", ..." if counts[_SIZES:] else "")


def _time_and_disk(found: Reckoning, workers: int | None) -> list[str]:
    if found.unlike == found.todo:
        nothing = "no like cell on record, so no"
        return [f"time    {nothing} time is reckoned", f"disk    {nothing} disk space is reckoned"]
    rest = f", without {count_cells(found.unlike)} of which no like cell is on record" if found.unlike else ""
    total = f"{duration(max(1.0, sum(found.seconds)))} of computing"
    time = total if workers is None else f"{duration(max(1.0, found.elapsed(workers)))} ({total})"
    each = ", ".join(sorted({f"{like.seconds:.2g} s" for like in found.likes.values()})[:_SIZES])
    count = sum(like.cells for like in found.likes.values())
    return [
        f"time    about {time}{rest}",
        f"disk    about {bytes_(found.size)} more{rest}",
        f"how     by {count_cells(count)} on record in this study, equal in all but {', '.join(WITHIN_STACK)}, "
        f"which took {each} for each level of each network",
    ]
