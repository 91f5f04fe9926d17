"""What of a study was handed to Slurm: one file a job array, in the folder that holds submitit's own."""

import getpass
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ltsweep.errors import UserError
from ltsweep.store.disk import need_folders, write


@dataclass(frozen=True)
class Submission:
    """One job array: by whom and where, with which settings, and which cells each of its tasks computes.

    versions: of code and packages; options: hydra.launcher's; settings: where and how the cells are computed;
    tasks: task -> keys, a task being named as squeue does (`12_3`, or `12` for an array of one).
    """

    cluster: str | None
    user: str
    submitted: str
    versions: dict[str, str]
    options: dict[str, Any]
    settings: dict[str, Any]
    tasks: dict[str, list[str]]


def folder(study: Path) -> Path:
    """Return the study's folder for what goes to Slurm."""
    return study / ".submitit"


def make_folder(study: Path) -> Path:
    """Make that folder. Tasks load pickles from it, so raises UserError where another user owns it."""
    path = folder(study)
    need_folders(path)
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
    """Note a job array that was just submitted."""
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    user = getpass.getuser()
    made = Submission(cluster, user, now, dict(versions), dict(options), dict(settings), dict(tasks))
    text = json.dumps(asdict(made), indent=1)
    write(folder(study) / f"{now.replace(':', '')}.json", (text + "\n").encode())


def submissions(study: Path) -> list[Submission]:
    """Return the study's job arrays, oldest first; a file that cannot be read is left aside."""
    found = []
    for path in sorted(folder(study).glob("*.json")):
        try:
            found.append(Submission(**json.loads(path.read_text())))
        except (OSError, ValueError, TypeError):
            continue
    return found


def holders(study: Path) -> dict[str, tuple[str, Submission]]:
    """Return key -> the task that was last given that cell, and its array."""
    return {
        key: (task, submission)
        for submission in submissions(study)
        for task, keys in submission.tasks.items()
        for key in keys
    }


def release(study: Path, keys: Collection[str]) -> None:
    """Forget that tasks, which have ended, were given these cells: another command computes them now."""
    for path in folder(study).glob("*.json"):
        try:
            found = Submission(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            continue
        kept = {task: [key for key in given if key not in keys] for task, given in found.tasks.items()}
        if kept != found.tasks:
            text = json.dumps(asdict(found) | {"tasks": kept}, indent=1)
            write(path, (text + "\n").encode())
