"""Follow a study while it runs: make everything anew when a cell starts or ends."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from multirun_analysis import cell
from multirun_analysis.load import cell_folders
from multirun_analysis.schema import UNENDED, UNREADABLE

# Seconds between two looks at a study.
EVERY = 5.0


def watch(studies: Sequence[Path], make: Callable[[], None], *, wait: Callable[[float], None] = time.sleep) -> None:
    """Call `make` now and whenever the status of a cell changes, until every cell has ended or Ctrl-C is pressed.

    Raises AnalysisError where there is no study.
    """
    seen: dict[Path, str] = {}
    try:
        while True:
            now = _states(studies)
            if now != seen:
                make()
                seen = now
            if not any(state in UNENDED for state in now.values()):
                return
            wait(EVERY)
    except KeyboardInterrupt:
        print("\nno longer watching; what was written stays")


def _states(studies: Sequence[Path]) -> dict[Path, str]:
    """Return the status of each cell, folder -> status."""
    folders = [folder for study in studies for folder in cell_folders(study)]
    return {folder: str(cell.status(folder).get("status", UNREADABLE)) for folder in folders}
