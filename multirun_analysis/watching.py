"""Following a study while it runs: everything is made anew when a cell starts or ends."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from multirun_analysis import load

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
            if not any(state in ("running", "pending") for state in now.values()):
                return
            wait(EVERY)
    except KeyboardInterrupt:
        print("\nno longer watching; what was written stays")


def _states(studies: Sequence[Path]) -> dict[Path, str]:
    return {
        cell: str(load.status(cell).get("status", "unreadable"))
        for study in studies
        for cell in load.cell_folders(study)
    }
