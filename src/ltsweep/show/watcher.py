"""What follows a study while it runs. The live table is one watcher; a tracker is another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ltsweep.grid.cell import Cell
from ltsweep.show.events import News


class Watcher(Protocol):
    """Told of everything in order: `announce` once, then `show` and `note` as things happen, then `close` once."""

    def announce(self, study: Path, cells: Sequence[Cell], totals: Mapping[str, tuple[int, int]]) -> None:
        """Take the whole grid, and the plan.

        totals: for each cell to compute, key -> (optimizer steps of all its networks, those done by earlier commands).
        """

    def show(self, news: News) -> None:
        """Take one cell's progress."""

    def note(self, text: str) -> None:
        """Take a line for the user."""

    def close(self) -> None:
        """The study has ended, well or not."""
