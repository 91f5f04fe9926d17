"""A task on a compute node: trains its cells, and is requeued when it is stopped."""

import contextlib
import os
import signal
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from submitit.core.utils import DelayedSubmission, UncompletedJobError

from ltsweep.errors import CannotWriteError, UserError
from ltsweep.grid.cell import Cell
from ltsweep.show.table import LiveTable
from ltsweep.store.folder import CellFolder
from ltsweep.store.hold import hold
from ltsweep.store.provenance import changed

# Seconds that a requeued task waits for its cells, whose locks a lost node may keep for a while.
_LOCKS = 120.0


class Stopped(BaseException):
    """A task was told to end and is not requeued.

    Not an Exception, or an `except Exception` on the way would take it for a cell's error.
    """


@dataclass(frozen=True)
class Task:
    """Compute a pack of cells. Submitit pickles the name of the class, not its code: a task runs the code it meets.

    settings: fields of ltsweep.run.settings.Settings. versions: as `ltsweep.store.provenance` has them at submission.
    """

    study: Path
    settings: dict[str, Any]
    max_requeues: int
    versions: dict[str, str]

    def __call__(self, cells: Sequence[Cell]) -> dict[str, str]:
        """Bring every cell to its end and return key -> status; or mark the cells as failed and raise."""
        folders = [CellFolder(self.study, cell.key) for cell in cells]
        try:
            with _stopped_by_signal(self.max_requeues):
                return self._run(cells)
        except Stopped as stop:
            _fail(folders, str(stop))
            raise UncompletedJobError(str(stop)) from stop
        except UserError as error:
            _fail(folders, str(error))
            raise
        except CannotWriteError:
            raise  # marking would fail too; the command that waits sees that the task is gone
        except Exception as error:
            _fail(folders, f"{type(error).__name__}: {error}", traceback.format_exc())
            raise

    def checkpoint(self, cells: Sequence[Cell]) -> DelayedSubmission:
        """Return the work of a requeued task: the same, which goes on from the records."""
        return DelayedSubmission(self, cells)

    def _run(self, cells: Sequence[Cell]) -> dict[str, str]:
        if _restarts() > self.max_requeues:
            raise Stopped(f"requeued more than hydra.launcher.max_requeues={self.max_requeues} times")
        different = changed(self.versions)
        if different:
            raise UserError(
                f"the code is not what the study was submitted with ({different}); the same command submits it anew"
            )
        from ltsweep.run.prepare import prepare  # after all that can be refused without torch
        from ltsweep.run.settings import Settings
        from ltsweep.run.study import run

        settings = dict(self.settings)
        if settings["workers"] == "auto" and settings["device"] == "cpu":
            settings["workers"] = int(os.environ.get("SLURM_CPUS_PER_TASK", "1"))  # not all cores are the task's
        settings["data_dir"] = Path(settings["data_dir"])
        with hold(*(self.study / cell.key for cell in cells), wait=_LOCKS):
            statuses = run(prepare(cells, Settings(self.study, **settings)), LiveTable())
        return {key: str(status["status"]) for key, status in statuses.items()}


@contextlib.contextmanager
def _stopped_by_signal(max_requeues: int) -> Iterator[None]:
    """Let submitit requeue the task on its signal, `max_requeues` times at most; then, or if refused, raise Stopped.

    Slurm counts the restarts. Submitit's own count leaves out preemptions, but for those of tasks of ten minutes or
    less, which it takes for time limits.
    """
    number = signal.SIGUSR2
    requeue = signal.getsignal(number)

    def stop(signum: int, frame: FrameType | None) -> Any:
        if _restarts() >= max_requeues:
            raise Stopped(
                f"stopped by its time limit or a preemption after {_restarts()} requeue{'s' * (_restarts() != 1)}; "
                f"hydra.launcher.max_requeues is {max_requeues}"
            )
        if callable(requeue):
            try:
                requeue(signum, frame)
            except Exception as error:
                if getattr(error, "returncode", None) == -signal.SIGTERM:
                    raise SystemExit(-1) from error  # requeued: Slurm ends all that runs in the task, scontrol too
                raise Stopped(f"stopped by its time limit or a preemption, and cannot be requeued: {error}") from error

    signal.signal(number, stop)
    try:
        yield
    finally:
        signal.signal(number, requeue)


def _restarts() -> int:
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def _fail(folders: Sequence[CellFolder], reason: str, trace: str = "") -> None:
    """Mark the cells as failed, except those that another process holds."""
    for folder in folders:
        with contextlib.suppress(UserError), hold(folder.folder, patient=False):
            folder.fail(reason, trace)
