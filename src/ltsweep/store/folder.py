"""A cell's folder as everything that follows a study sees it, without torch: config, status, log."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from ltsweep.errors import BrokenFileError, UserError
from ltsweep.grid.cell import Cell
from ltsweep.schema import CONFIG, ENDED, FAILED, FINISHED, KEY, LOG, PENDING, STATUS, TABLES, TICKETS, VERSION
from ltsweep.store import disk
from ltsweep.store.disk import Noted

# Fields of status.json that the program relies on, and their types; the first three are in every status.
_TYPES = {
    "status": str,
    "level": int,
    "schema": int,
    "stack": str,
    "stack_keys": list,
    "packed": dict,
    "files": dict,
}
_NEEDED = ("status", "level", "schema")


# The status of a cell that has none on the disk.
NOT_BEGUN: Mapping[str, Any] = {"status": PENDING, "level": -1}


class CellFolder:
    """The folder of one cell. Reading never changes it; every write leaves it whole."""

    def __init__(self, study: Path, key: str) -> None:
        """Name the folder `study`/`key`, which need not exist yet."""
        self.folder = study / key

    def status(self) -> dict[str, Any]:
        """Return the cell's status; a status.json that is missing, torn or foreign counts as nothing done.

        Raises UserError if another version of ltsweep wrote it.
        """
        try:
            return self.read_status()
        except (FileNotFoundError, BrokenFileError):
            return dict(NOT_BEGUN)

    def seen(self) -> tuple[int, int, int] | None:
        """Return inode, time of change and size of status.json: others once it is written again. None without it."""
        try:
            facts = (self.folder / STATUS).lstat()
        except OSError:
            return None
        return facts.st_ino, facts.st_mtime_ns, facts.st_size

    def read_status(self) -> dict[str, Any]:
        """Return the fields of status.json.

        Raises FileNotFoundError, BrokenFileError, or UserError if another version of ltsweep wrote it.
        """
        content = disk.read(self.folder / STATUS)
        try:
            fields = json.loads(content)
        except ValueError as error:
            raise BrokenFileError("is not whole") from error
        if not isinstance(fields, dict):
            raise BrokenFileError("is not a status")
        digest = fields.pop("sha256", None)  # older records have none
        if digest is not None and digest != _digest(fields):
            raise BrokenFileError("does not hold what was written (its SHA-256 is another)")
        self._check_version(fields.get("schema"))
        typed = all(isinstance(fields.get(name, kind()), kind) for name, kind in _TYPES.items())
        if not typed or not fields.keys() >= set(_NEEDED) or not all(map(_is_key, fields.get("stack_keys", ()))):
            raise BrokenFileError("is not a status")
        return fields

    def plan(self, cell: Cell, **fields: Any) -> None:
        """Make the folder with config and status, so that a cell that never starts is seen as missing."""
        disk.check_folders(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        files = self.status().get("files", {}) | {CONFIG: self.write_config(cell)}
        self.set_status(PENDING, levels=cell.config["levels"], key=cell.key, error=None, files=files, **fields)

    def write_config(self, cell: Cell) -> Noted:
        """Write config.yaml and return its size, time of change and SHA-256."""
        return disk.write(self.folder / CONFIG, yaml.safe_dump(dict(cell.config), sort_keys=False).encode())

    def set_status(self, status: str, **fields: Any) -> None:
        """Write `status` and `fields` into status.json, keeping all other fields."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        before = {"schema": VERSION, "level": -1, "error": None, "seconds": 0.0, "started": now} | self.status()
        after = before | {"updated": now} | fields | {"status": status}
        disk.write(self.folder / STATUS, (_text(after | {"sha256": _digest(after)}) + "\n").encode())

    def fail(self, reason: str, trace: str = "") -> bool:
        """Mark the cell as failed, unless it has ended already; return whether it was marked.

        The log gets the traceback `trace` if there is one, else the reason.
        """
        if self.status()["status"] in ENDED:
            return False
        self.log(trace or reason)
        self.set_status(FAILED, error=reason)
        return True

    def log(self, text: str) -> None:
        """Add a line, with the time, to the cell's log."""
        disk.append(self.folder / LOG, f"{datetime.now().isoformat(sep=' ', timespec='seconds')}  {text.rstrip()}\n")

    def check_folders(self) -> None:
        """Raise UserError if the cell's folder, or that of its tickets, is a link or a file."""
        disk.check_folders(self.folder, self.folder / TICKETS)

    def drop_results(self) -> None:
        """Remove the status, the tables and the tickets; the config and the log stay."""
        for name in (STATUS, *TABLES, TICKETS):
            disk.remove(self.folder / name)

    def forget(self) -> None:
        """Remove the results and the log, so that the cell is computed from nothing."""
        self.drop_results()
        (self.folder / LOG).unlink(missing_ok=True)

    def _check_version(self, schema: Any) -> None:
        if not isinstance(schema, int) or schema == VERSION:
            return
        path = self.folder / STATUS
        if schema > VERSION:
            raise UserError(
                f"{path} was written by a newer ltsweep (its records are of version {schema}, this one knows "
                f"{VERSION}); update ltsweep, or take another study=NAME"
            )
        raise UserError(
            f"{path} was written by an older ltsweep (its records are of version {schema}, this one's are "
            f"{VERSION}); force=true computes it again, another study=NAME keeps it"
        )


def statuses_of(cells: Iterable[Cell], study: Path) -> dict[str, dict[str, Any]]:
    """Return key -> the fields of its status.json, for each of `cells`."""
    return {cell.key: CellFolder(study, cell.key).status() for cell in cells}


def mates_of(statuses: Mapping[str, Mapping[str, Any]], study: Path) -> dict[str, dict[str, Any]]:
    """Return the statuses of other cells, with which an unfinished one of these began its stack, by key."""
    begun = [status.get("stack_keys", ()) for status in statuses.values() if status["status"] not in FINISHED]
    others = {key for keys in begun for key in keys} - statuses.keys()
    return {key: CellFolder(study, key).status() for key in sorted(others)}


def unfinished(cells: Sequence[Cell], statuses: Mapping[str, Mapping[str, Any]]) -> list[Cell]:
    """Return the cells that have something left to compute, by key -> fields of status.json."""
    return [cell for cell in cells if statuses[cell.key]["status"] not in FINISHED]


def _is_key(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(KEY, value) is not None


def _text(status: Mapping[str, Any]) -> str:
    return json.dumps(status, indent=1)


def _digest(status: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(status).encode()).hexdigest()
