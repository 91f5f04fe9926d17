"""A cell's folder as all who follow a study see it, without torch: config, status, log, and the claim on it."""

import contextlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from ltsweep.cell import SCHEMA, Cell
from ltsweep.errors import UserError

FINISHED = ("done", "diverged")


class CellFolder:
    """The folder of one cell. Reading never changes it; every write leaves it whole."""

    def __init__(self, study: Path, key: str) -> None:
        """Look at `study`/`key`, which need not exist yet."""
        self.folder = study / key

    def status(self) -> dict[str, Any]:
        """Return the cell's status; a missing, torn or foreign file reads as nothing done."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((self.folder / "status.json").read_text())
            types = {"status": str, "level": int, "stack": str}
            known = {"stack": ""} | found if isinstance(found, dict) else {}
            if all(isinstance(known.get(name), kind) for name, kind in types.items()):
                return found  # type: ignore[no-any-return]
        return {"status": "pending", "level": -1}

    def plan(self, cell: Cell, **fields: Any) -> None:
        """Make the folder with config and status, so that a cell that never starts is seen as missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(dict(cell.config), sort_keys=False)
        write(self.folder / "config.yaml", lambda path: path.write_text(text))
        self.set_status("pending", levels=cell.config["levels"], key=cell.key, error=None, **fields)

    def set_status(self, status: str, **fields: Any) -> None:
        """Move to `status`, keeping the fields not given."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        before = {"schema": SCHEMA, "level": -1, "error": None, "seconds": 0.0, "started": now} | self.status()
        text = json.dumps(before | {"updated": now} | fields | {"status": status}, indent=1)
        write(self.folder / "status.json", lambda path: path.write_text(text + "\n"))

    def fail(self, reason: str) -> None:
        """Mark the cell as failed, in its log too, unless it has ended already."""
        if self.status()["status"] not in (*FINISHED, "failed"):
            self.log(reason)
            self.set_status("failed", error=reason)

    def log(self, text: str) -> None:
        """Add to the cell's log."""
        with (self.folder / "cell.log").open("a") as file:
            file.write(f"{datetime.now().isoformat(sep=' ', timespec='seconds')}  {text.rstrip()}\n")


@contextlib.contextmanager
def claim(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold a study, or one cell of it, for one process, after up to `wait` seconds.

    Raises UserError where the folder cannot be written, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}); choose another folder with study=NAME"
        ) from error
    lock = FileLock(folder / ".lock", timeout=wait)
    owner = folder / ".owner"
    try:
        lock.acquire()
    except Timeout as error:
        who = owner.read_text().strip() if owner.exists() else "another process"
        raise UserError(f"{folder} is being computed by {who}; wait for it, or take another study=NAME") from error
    try:
        owner.write_text(f"process {os.getpid()} on {platform.node()}\n")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def write(path: Path, fill: Callable[[Path], Any]) -> None:
    """Let `fill` write a file beside `path`, and move it there once it is on the disk."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fill(aside)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
