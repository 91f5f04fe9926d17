"""Where the cells of a study stand, from their folders and from Slurm's word on the tasks that were given them."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ltsweep.cluster import ledger, slurm
from ltsweep.cluster.slurm import TaskState
from ltsweep.errors import UserError
from ltsweep.schema import ENDED, FAILED, FINISHED, PENDING
from ltsweep.store.contents import UNREADABLE, status_of
from ltsweep.store.folder import CellFolder
from ltsweep.store.hold import hold
from ltsweep.words import shown

# Seconds that a network file system gets to show the last record of a task that has ended.
_GRACE = 5.0
# Seconds that a task with nothing left to compute gets to leave the queue.
_LEAVING = 30.0
# Seconds between two looks at a task that is leaving.
_LOOK = 0.5


@dataclass(frozen=True)
class Standing:
    """One cell: its status as recorded, or `pending` while its task is in the queue; its task, and the task's state.

    A record that cannot be read gives the status `unreadable`, with the reason as its error. arms: arm -> its last
    level on record. versions: those of the code and the packages that made it.
    """

    status: str
    level: int
    error: str | None
    task: str | None = None
    state: TaskState | None = None
    arms: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Return whether nothing computes the cell any more, as far as its status says."""
        return self.status in ENDED

    @property
    def settled(self) -> bool:
        """Return whether its status stays as it is: it has ended, or cannot be read and has no task."""
        return self.ended or (self.status == UNREADABLE and not self.queued)

    @property
    def queued(self) -> bool:
        """Return whether a task that Slurm knows will still compute this cell."""
        return self.status not in FINISHED and self.state is not None and self.state.alive


class Watch:
    """Looks at the cells of a study, and marks those whose task ended before they did as failed."""

    def __init__(self, study: Path, mark: bool = True) -> None:
        """Look at `study`; without `mark`, cells are reported as failed and their folders stay as they are."""
        self.study = study
        self.mark = mark
        self.unreachable = ""  # in words, if Slurm cannot be asked from here
        self._gone: dict[str, float] = {}  # task -> when it was first seen to have ended

    def look(self, keys: Iterable[str]) -> dict[str, Standing]:
        """Return key -> standing. A cell is marked some seconds after Slurm says that its task ended."""
        holders = ledger.holders(self.study)
        states = self._ask({submission.user for _, submission in holders.values()}, holders)
        # Slurm was asked first: a cell that its task finished meanwhile reads as finished.
        found = {}
        reasons: dict[str, str] = {}
        for key in keys:
            status = status_of(self.study / key)
            task, submission = holders.get(key, (None, None))
            if task is None or submission is None or submission.user not in states:
                found[key] = _standing(status, task, None)
                continue
            state = slurm.find(task, states[submission.user])
            if state.alive:
                self._gone.pop(task, None)
            elif status["status"] not in (*ENDED, UNREADABLE) and self._is_over(task):
                if task not in reasons:
                    reasons[task] = self._why(task, state)
                status = self._failed(key, reasons[task])
            found[key] = _standing(status, task, state)
        return found

    def settle(self, keys: Sequence[str]) -> dict[str, Standing]:
        """Return key -> standing, once no task is about to leave the queue and the cells of ended ones are marked."""
        found, until = self.look(keys), time.monotonic() + _LEAVING
        while self._is_leaving(found.values()) and time.monotonic() < until:
            time.sleep(_LOOK)
            found = self.look(keys)
        if any(not one.settled and one.state is not None and not one.state.alive for one in found.values()):
            time.sleep(_GRACE)
            found = self.look(keys)
        return found

    def _ask(
        self, users: set[str], holders: Mapping[str, tuple[str, ledger.Submission]]
    ) -> dict[str, dict[str, TaskState]]:
        """Return user -> task -> state, for the users whose tasks Slurm can be asked about from here."""
        self.unreachable = ""
        if not users:
            return {}
        here = slurm.cluster()
        clusters = {submission.cluster for _, submission in holders.values()}
        if here is None or clusters != {here}:
            names = ", ".join(sorted(str(name) for name in clusters))
            self.unreachable = (
                f"Slurm cluster {shown(names)} cannot be asked from here; what is shown is what the tasks wrote"
            )
            return {}
        answers = {user: slurm.tasks(user) for user in users}
        return {user: answer for user, answer in answers.items() if answer is not None}

    def _is_leaving(self, standings: Iterable[Standing]) -> bool:
        """Return whether a task that was given a failed cell is still there, with no cell left to compute."""
        names = {one.task for one in standings if one.status == FAILED and one.queued}
        busy = {
            task
            for key, (task, _) in ledger.holders(self.study).items()
            if task in names and status_of(self.study / key)["status"] not in ENDED
        }
        return bool(names - busy)

    def _why(self, task: str, state: TaskState) -> str:
        log = ledger.folder(self.study) / f"{task}_0_log.err"
        why = slurm.why_ended(task, state, log)
        return f"task {task} {why}" + (f"; see {log}" if why.startswith("ended ") else "")

    def _is_over(self, task: str) -> bool:
        now = time.monotonic()
        return now - self._gone.setdefault(task, now) >= _GRACE

    def _failed(self, key: str, reason: str) -> dict[str, Any]:
        """Mark a cell whose task is gone, unless a process holds it or its last record came late; return its status."""
        folder = CellFolder(self.study, key)
        if not self.mark:
            return status_of(self.study / key) | {"status": FAILED, "error": reason}
        try:
            with hold(folder.folder, patient=False):  # writing in the folder makes a network file system look again
                folder.fail(reason)
        except UserError:
            pass  # held by a process that runs, or another user's
        return status_of(self.study / key)


def _standing(status: Mapping[str, Any], task: str | None, state: TaskState | None) -> Standing:
    recorded = str(status["status"])
    waits = state is not None and state.waits and recorded not in (*FINISHED, UNREADABLE)
    shown, arms, versions = PENDING if waits else recorded, status.get("arms", {}), status.get("versions", {})
    return Standing(shown, int(status["level"]), status.get("error"), task, state, arms, versions)
