"""A study in Slurm's queue: shown until its cells have ended, cancelled, or taken over by another command."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Group, RenderableType

from ltsweep.cluster import ledger, slurm
from ltsweep.cluster.watch import Standing, Watch
from ltsweep.errors import BrokenFileError, UserError
from ltsweep.grid.cell import Cell
from ltsweep.schema import LEVELS_FILE, PENDING, RUNNING, TICKET, headline_of
from ltsweep.show.events import News
from ltsweep.show.page import plain
from ltsweep.show.table import LiveTable
from ltsweep.store.folder import CellFolder
from ltsweep.store.hold import hold

# Seconds that cancelled tasks get to end: Slurm kills a task 30 s (KillWait) after it asked it to stop.
_END = 90.0
# Seconds between two looks at cancelled tasks.
_LOOK = 1.0
# Tasks that a message names.
_NAMED = 4


class ClusterDisplay(LiveTable):
    """The live table of a study, with a line on its tasks. Work is counted in trainings, as records tell of it."""

    line = ""

    def say_tasks(self, standings: Iterable[Standing]) -> None:
        """Show how many tasks run and wait, and why they wait."""
        states = {one.task: one.state for one in standings if one.task and one.state and one.queued}
        counts = Counter("waiting" if state.waits else "running" for state in states.values())
        why = slurm.waiting_reasons(states.values())
        line = f"tasks: {counts['running']} running, {counts['waiting']} waiting" + (f" ({why})" if why else "")
        if line != self.line:
            self.line = line
            self.say(line)

    def render(self) -> RenderableType:
        """Return the table as it stands, with the line on the tasks."""
        return Group(super().render(), plain(self.line, "dim"))

    def _print_plan(self, study: Path, cells: Sequence[Cell], totals: Mapping[str, tuple[int, int]]) -> None:
        """Print nothing: the plan, which knows the tasks too, was printed before they were submitted."""


def follow(watch: Watch, keys: Sequence[str], display: ClusterDisplay, seconds: float) -> None:
    """Look at the cells every `seconds` and show them, until none will change any more."""
    shown: dict[str, Standing] = {}
    while True:
        standings = watch.look(keys)
        for key, one in standings.items():
            before = shown.get(key)
            if before and (before.status, before.arms) == (one.status, one.arms):
                continue
            shown[key] = one
            if one.status == PENDING:
                display.latest.pop(key, None)
            elif one.status == RUNNING or not before or not before.ended:
                display.show(_news(watch.study, key, one))
        display.say_tasks(standings.values())
        if all(one.settled for one in standings.values()):
            return
        time.sleep(seconds)


def plan_totals(cells: Sequence[Cell], study: Path) -> dict[str, tuple[int, int]]:
    """Return key -> (trainings in all, those done before), in which the display counts work."""
    from ltsweep.run.extent import trainings  # loads torch

    return {cell.key: trainings(cell, CellFolder(study, cell.key).status()) for cell in cells}


def cancel(watch: Watch, keys: Sequence[str]) -> tuple[dict[str, Standing], dict[str, str]]:
    """Cancel the tasks of these cells that Slurm says are this study's.

    Returns key -> standing, once those tasks have ended and their cells are marked; and task -> why it was left.
    """
    standings = watch.look(keys)
    tasks = sorted({one.task for one in standings.values() if one.queued and one.task})
    name, folder = ledger.job_name(watch.study), ledger.folder(watch.study)
    why = {array: slurm.why_not_ours(array, name, folder) for array in {task.partition("_")[0] for task in tasks}}
    left = {task: why[task.partition("_")[0]] for task in tasks if why[task.partition("_")[0]]}
    ours = [task for task in tasks if task not in left]
    slurm.cancel(ours)
    until = time.monotonic() + _END
    while any(not one.settled for one in standings.values() if one.task in ours) and time.monotonic() < until:
        time.sleep(_LOOK)
        standings = watch.look(keys)
    return standings, left


def take_over(study: Path, keys: Sequence[str]) -> None:
    """Take these cells from the tasks that were given them, for a command that holds the study.

    Raises UserError if a task will still compute one: two writers would spoil its records.
    """
    if not ledger.folder(study).is_dir():
        return
    watch = Watch(study)
    standings = watch.settle(keys)
    if watch.unreachable:
        for key in keys:
            if standings[key].task:
                with hold(study / key):
                    pass  # raises if its task runs; a task that waits cannot be seen from here
    queued = sorted({one.task for one in standings.values() if one.queued and one.task})
    if queued:
        raise UserError(
            f"{study} is being computed by Slurm, task{'s' * (len(queued) > 1)} {', '.join(queued[:_NAMED])}"
            f"{' and more' * (len(queued) > _NAMED)}; wait, or: python -m ltsweep.status {study} --cancel"
        )
    ledger.release(study, set(keys))


def _news(study: Path, key: str, one: Standing) -> News:
    """Return a cell's progress: the level it works on, and the scores of its ticket at the last finished level."""
    from ltsweep.store import tables  # loads pyarrow, which is slow, and a status needs no tables

    level = max(0, one.level + (one.status == RUNNING))
    try:
        rows = tables.rows_kept(study / key / LEVELS_FILE, one.arms)
        row = [row for row in rows if row["arm"] == TICKET][-1]
    except (BrokenFileError, IndexError):
        return News(key, one.status, level, 0)
    remaining = row["weights_remaining"] / row["weights_total"]
    headline = headline_of(row)
    return News(key, one.status, level, len(rows), row[f"final_test_{headline}"], remaining, headline)
