"""The tasks of a study that were handed to Slurm: one file a job array, beside submitit's own files.

A study may come from a stranger: its names of tasks, users and clusters go on command lines, and have a known form.
"""

import getpass
import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from ltsweep.errors import BrokenFileError, UserError
from ltsweep.schema import SUBMITTED
from ltsweep.store import disk, reader

# Bytes of all ledger files that are read, and files: a task of 128 cells has 3 thousand. Of more, the newest are read.
_MOST_BYTES, _MOST_FILES = 32 << 20, 1_000

Task = Annotated[str, Meta(pattern=r"\A[0-9]{1,18}(_[0-9]{1,9})?\Z")]
User = Annotated[str, Meta(pattern=r"\A\w[\w.@+$\\-]{0,99}\Z")]
Cluster = Annotated[str, Meta(pattern=r"\A\w[\w.-]{0,99}\Z")]
Time = Annotated[str, Meta(pattern=r"\A\d{4}-\d\d-\d\dT[\d:.]{5,20}(\+00:00|Z)?\Z")]


@dataclass(frozen=True)
class Submission:
    """One job array.

    submitted: time, UTC. versions: of code and packages. options: hydra.launcher's. settings: where and how the cells
    are computed. tasks: task -> keys of its cells; squeue calls a task `12_3`, or `12` in an array of one.
    """

    cluster: Cluster | None
    user: User
    submitted: Time
    versions: dict[reader.Name, reader.Name]
    options: dict[reader.Name, Any]
    settings: dict[reader.Name, Any]
    tasks: dict[Task, list[reader.Key]]


@dataclass
class Ledger:
    """A study's job arrays, oldest first, by their files; and file -> why it is not read."""

    submissions: dict[Path, Submission] = field(default_factory=dict)
    unread: dict[Path, str] = field(default_factory=dict)


def folder(study: Path) -> Path:
    """Return the folder of a study's submissions."""
    return study / SUBMITTED


def job_name(study: Path) -> str:
    """Return the name that a study's tasks have in Slurm."""
    return f"ltsweep-{Path(os.path.abspath(study)).name}"


def make_folder(study: Path) -> Path:
    """Make that folder. Raises UserError if another user owns it, since tasks load pickles from it."""
    path = folder(study)
    disk.check_folders(path)
    path.mkdir(parents=True, exist_ok=True)
    facts = path.stat()
    if facts.st_uid != os.getuid():
        raise UserError(f"{path} belongs to another user, and its files are run as programs; take another study=NAME")
    path.chmod(facts.st_mode & ~0o022)
    return path


def drop_pickles(study: Path, known: Collection[str]) -> None:
    """Remove the pickles and links of all jobs but those that Slurm knows.

    A study may come with such files of a number that Slurm is yet to give: that job would run the pickle, or write its
    log through the link.
    """
    for path in folder(study).iterdir():
        of_job = re.match(r"[0-9]+", path.name)
        if of_job and of_job[0] not in known and (path.suffix == ".pkl" or path.is_symlink()):
            disk.remove(path)


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


def holders(study: Path) -> dict[str, tuple[str, Submission]]:
    """Return key -> (task, job array) of the last submission of that cell."""
    return {
        key: (task, submission)
        for submission in read(study).submissions.values()
        for task, keys in submission.tasks.items()
        for key in keys
    }


def release(study: Path, keys: Collection[str]) -> None:
    """Take cells away from the tasks that were given them, which have ended: another command computes the cells."""
    for path, submission in read(study).submissions.items():
        kept = {task: [key for key in given if key not in keys] for task, given in submission.tasks.items()}
        if kept != submission.tasks:
            _write(path, replace(submission, tasks=kept))


def read(study: Path) -> Ledger:
    """Return the study's ledger: what cannot be read is named in it, and counts as not submitted."""
    found, where, left = Ledger(), folder(study), _MOST_BYTES
    try:
        disk.check_folders(where)
        names = sorted(name for name in os.listdir(where) if name.endswith(".json"))
    except FileNotFoundError:
        return found
    except (OSError, UserError) as error:
        return Ledger(unread={where: f"is not read: {error}"})
    for name in reversed(names[-_MOST_FILES:]):
        path = where / name
        try:
            size = path.lstat().st_size
            found.submissions[path] = reader.json_as(path, Submission, "a submission", left)
            left -= size
        except FileNotFoundError:
            continue  # another command has just released it, or it was removed
        except (OSError, BrokenFileError) as error:
            found.unread[path] = str(error)
    if len(names) > _MOST_FILES:
        found.unread[where] = f"holds {len(names):,} submissions, and the newest {_MOST_FILES:,} are read"
    found.submissions = dict(reversed(found.submissions.items()))
    return found


def _write(path: Path, submission: Submission) -> None:
    disk.write(path, (json.dumps(asdict(submission), indent=1) + "\n").encode())
