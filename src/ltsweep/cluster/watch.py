"""Where the cells of a study stand: what their folders say and what Slurm says of the tasks that were given them."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ltsweep.cluster import ledger, slurm
from ltsweep.cluster.slurm import TaskState
from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.show.display import Display, Event
from ltsweep.store.folder import FINISHED, CellFolder
from ltsweep.store.hold import claim

# Seconds that a network file system is given to show the last record of a task that has ended.
_GRACE = 5.0
# Seconds that a task which has nothing left to compute is given to leave the queue.
_LEAVING = 30.0
# Seconds that cancelled tasks get to end: Slurm kills one 30 s (KillWait) after it was asked to stop.
_END = 90.0

ENDED = (*FINISHED, "failed")


@dataclass(frozen=True)
class Standing:
    """One cell: its status as recorded, or `pending` while its task is in the queue; its task, and what that does."""

    status: str
    level: int
    error: str | None
    task: str | None = None
    state: TaskState | None = None

    @property
    def queued(self) -> bool:
        """Say whether a task that Slurm knows will still compute this cell."""
        return self.status not in FINISHED and self.state is not None and self.state.alive


class Watch:
    """Looks at the cells of a study, and marks those whose task is gone without having finished them."""

    def __init__(self, study: Path, mark: bool = True) -> None:
        """Look at `study`; without `mark`, a cell whose task is gone is only said to have failed."""
        self.study = study
        self.mark = mark
        self.unreachable = ""
        self._gone: dict[str, float] = {}  # task -> when it was first seen to have ended

    def look(self, keys: Iterable[str]) -> dict[str, Standing]:
        """Return key -> standing. A cell is marked some seconds after Slurm says that its task ended."""
        holders = ledger.holders(self.study)
        states = self._ask({submission.user for _, submission in holders.values()}, holders)
        # Slurm was asked first: a cell that its task finished meanwhile reads as finished.
        found = {}
        reasons: dict[str, str] = {}
        for key in keys:
            status = CellFolder(self.study, key).status()
            task, submission = holders.get(key, (None, None))
            if task is None or submission is None or submission.user not in states:
                found[key] = _standing(status, task, None)
                continue
            state = slurm.find(task, states[submission.user])
            if state.alive:
                self._gone.pop(task, None)
            elif status["status"] not in ENDED and self._is_over(task):
                if task not in reasons:
                    reasons[task] = self._why(task, state)
                status = self._failed(key, reasons[task])
            found[key] = _standing(status, task, state)
        return found

    def settle(self, keys: Sequence[str]) -> dict[str, Standing]:
        """Look until no task is just leaving the queue, and once more after the grace where one has just ended."""
        found, until = self.look(keys), time.monotonic() + _LEAVING
        while self._is_leaving(found.values()) and time.monotonic() < until:
            time.sleep(0.5)
            found = self.look(keys)
        if any(one.status not in ENDED and one.state is not None and not one.state.alive for one in found.values()):
            time.sleep(_GRACE)
            found = self.look(keys)
        return found

    def _ask(
        self, users: set[str], holders: Mapping[str, tuple[str, ledger.Submission]]
    ) -> dict[str, dict[str, TaskState]]:
        """Return user -> task -> state, for those whose tasks Slurm can be asked about from here."""
        self.unreachable = ""
        if not users:
            return {}
        here = slurm.cluster()
        clusters = {submission.cluster for _, submission in holders.values()}
        if here is None or clusters != {here}:
            names = ", ".join(sorted(str(name) for name in clusters))
            self.unreachable = f"Slurm cluster {names} cannot be asked from here; what is shown is what the tasks wrote"
            return {}
        answers = {user: slurm.tasks(user) for user in users}
        return {user: answer for user, answer in answers.items() if answer is not None}

    def _is_leaving(self, standings: Iterable[Standing]) -> bool:
        """Say whether a task that holds a failed cell still runs, with no cell left to compute."""
        names = {one.task for one in standings if one.status == "failed" and one.queued}
        left = {
            task
            for key, (task, _) in ledger.holders(self.study).items()
            if task in names and CellFolder(self.study, key).status()["status"] not in ENDED
        }
        return bool(names - left)

    def _why(self, task: str, state: TaskState) -> str:
        log = ledger.folder(self.study) / f"{task}_0_log.err"
        why = slurm.why_ended(task, state, log)
        return f"task {task} {why}" + (f"; see {log}" if why.startswith("ended ") else "")

    def _is_over(self, task: str) -> bool:
        now = time.monotonic()
        return now - self._gone.setdefault(task, now) >= _GRACE

    def _failed(self, key: str, reason: str) -> dict[str, Any]:
        """Mark a cell whose task is gone, unless someone computes it, or its last record came late."""
        folder = CellFolder(self.study, key)
        if not self.mark:
            return folder.status() | {"status": "failed", "error": reason}
        try:
            with claim(folder.folder):  # writing in the folder makes a network file system look again
                folder.fail(reason)
        except UserError:
            pass  # held by a process that runs, or another user's
        return folder.status()


class ClusterDisplay(Display):
    """The live table of a study, with a line on its tasks."""

    line = ""

    def _announce(self, cells: Sequence[Cell], totals: Mapping[str, tuple[int, int]], force: bool) -> None:
        """Say nothing: the plan, which knows the tasks too, was shown before they were submitted."""

    def say_tasks(self, standings: Iterable[Standing]) -> None:
        """Show how many tasks run and wait, and why."""
        states = {one.task: one.state for one in standings if one.task and one.state and one.queued}
        counts = Counter("waiting" if state.waits else "running" for state in states.values())
        why = slurm.waiting_reasons(states.values())
        line = f"tasks: {counts['running']} running, {counts['waiting']} waiting" + (f" ({why})" if why else "")
        if line != self.line:
            self.line = line
            self._say(line)

    def _table(self) -> RenderableType:
        return Group(super()._table(), Text(self.line, style="dim"))


def follow(watch: Watch, keys: Sequence[str], display: ClusterDisplay, seconds: float) -> None:
    """Show the cells until each has ended."""
    shown: dict[str, Standing] = {}
    while True:
        standings = watch.look(keys)
        for key, one in standings.items():
            before = shown.get(key)
            if before and (before.status, before.level) == (one.status, one.level):
                continue
            shown[key] = one
            if one.status == "pending":
                display.latest.pop(key, None)
            elif one.status == "running" or not before or before.status not in ENDED:
                display.show(_event(watch.study, key, one))
        display.say_tasks(standings.values())
        if all(one.status in ENDED for one in standings.values()):
            return
        time.sleep(seconds)


def cancel(watch: Watch, keys: Sequence[str]) -> dict[str, Standing]:
    """Cancel the tasks of these cells, and wait until Slurm has ended them and the cells are marked."""
    standings = watch.look(keys)
    slurm.cancel(sorted({one.task for one in standings.values() if one.queued and one.task}))
    began = time.monotonic()
    while any(one.status not in ENDED for one in standings.values() if one.task) and time.monotonic() - began < _END:
        time.sleep(1)
        standings = watch.look(keys)
    return standings


def take_over(study: Path, keys: Sequence[str]) -> None:
    """Let a command that holds the study compute these cells itself.

    Raises UserError where a task will still compute one: two writers would spoil its records.
    """
    if not ledger.folder(study).is_dir():
        return
    watch = Watch(study)
    standings = watch.settle(keys)
    if watch.unreachable:
        for key in keys:
            if standings[key].task:
                with claim(study / key):
                    pass  # raises where its task runs; one that only waits cannot be seen from here
    queued = sorted({one.task for one in standings.values() if one.queued and one.task})
    if queued:
        raise UserError(
            f"{study} is being computed by Slurm, task{'s' * (len(queued) > 1)} {', '.join(queued[:4])}"
            f"{' and more' * (len(queued) > 4)}; wait, or: python -m ltsweep.status {study} --cancel"
        )
    ledger.release(study, set(keys))


def plan_totals(cells: Sequence[Cell], study: Path) -> dict[str, tuple[int, int]]:
    """Return for each cell its levels, in all and done before, as the display counts them."""
    return {cell.key: (cell.config["levels"] + 1, CellFolder(study, cell.key).status()["level"] + 1) for cell in cells}


def _event(study: Path, key: str, one: Standing) -> Event:
    """Return what the display shows of a cell: the level it works on, and its ticket at the last that is finished."""
    import pyarrow.parquet as pq  # for those who wait; a status needs no tables

    level = max(0, one.level + (one.status == "running"))
    columns = ["weights_remaining", "weights_total", "final_test_accuracy"]
    try:
        table = pq.read_table(study / key / "levels.parquet", columns=columns, filters=[("arm", "=", "ticket")])
        row = table.to_pylist()[-1]
    except (OSError, ValueError, IndexError):
        return Event(key, one.status, level, one.level + 1)
    remaining = row["weights_remaining"] / row["weights_total"]
    return Event(key, one.status, level, one.level + 1, row["final_test_accuracy"], remaining)


def _standing(status: Mapping[str, Any], task: str | None, state: TaskState | None) -> Standing:
    recorded = str(status["status"])
    waits = state is not None and state.waits and recorded not in FINISHED
    return Standing("pending" if waits else recorded, int(status["level"]), status.get("error"), task, state)
