"""The tasks of a study that were handed to Slurm: one file a job array, beside submitit's own files."""

import getpass
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ltsweep.errors import UserError
from ltsweep.schema import SUBMITTED
from ltsweep.store.disk import check_folders, write


@dataclass(frozen=True)
class Submission:
    """One job array.

    submitted: time, UTC. versions: of code and packages. options: hydra.launcher's. settings: where and how the cells
    are computed. tasks: task -> keys of its cells; squeue calls a task `12_3`, or `12` in an array of one.
    """

    cluster: str | None
    user: str
    submitted: str
    versions: dict[str, str]
    options: dict[str, Any]
    settings: dict[str, Any]
    tasks: dict[str, list[str]]


def folder(study: Path) -> Path:
    """Return the folder of a study's submissions."""
    return study / SUBMITTED


def make_folder(study: Path) -> Path:
    """Make that folder. Raises UserError if another user owns it, since tasks load pickles from it."""
    path = folder(study)
    check_folders(path)
    path.mkdir(parents=True, exist_ok=True)
    facts = path.stat()
    if facts.st_uid != os.getuid():
        raise UserError(f"{path} belongs to another user, and its files are run as programs; take another study=NAME")
    path.chmod(facts.st_mode & ~0o022)
    return path


def add(
    study: Path,
    cluster: str | None,
    versions: Mapping[str, str],
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    tasks: Mapping[str, list[str]],
) -> None:
    """Write the file of a job array that was just submitted."""
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    user = getpass.getuser()
    made = Submission(cluster, user, now, dict(versions), dict(options), dict(settings), dict(tasks))
    _write(folder(study) / f"{now.replace(':', '')}.json", made)


def submissions(study: Path) -> list[Submission]:
    """Return the study's job arrays, oldest first, without files that cannot be read."""
    return [submission for _, submission in _read(study)]


def holders(study: Path) -> dict[str, tuple[str, Submission]]:
    """Return key -> (task, job array) of the last submission of that cell."""
    return {
        key: (task, submission)
        for submission in submissions(study)
        for task, keys in submission.tasks.items()
        for key in keys
    }


def release(study: Path, keys: Collection[str]) -> None:
    """Take cells away from the tasks that were given them, which have ended: another command computes the cells."""
    for path, submission in _read(study):
        kept = {task: [key for key in given if key not in keys] for task, given in submission.tasks.items()}
        if kept != submission.tasks:
            _write(path, replace(submission, tasks=kept))


def _read(study: Path) -> list[tuple[Path, Submission]]:
    found = []
    for path in sorted(folder(study).glob("*.json")):
        try:
            found.append((path, Submission(**json.loads(path.read_text()))))
        except (OSError, ValueError, TypeError):
            continue
    return found


def _write(path: Path, submission: Submission) -> None:
    write(path, (json.dumps(asdict(submission), indent=1) + "\n").encode())
