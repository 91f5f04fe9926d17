"""A cell's folder as all who follow a study see it, without torch: config, status, log."""

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from ltsweep.errors import BrokenFileError, UserError
from ltsweep.grid.cell import Cell
from ltsweep.schema import VERSION as SCHEMA
from ltsweep.store.disk import Noted, append, need_folders, read, write

FINISHED = ("done", "diverged")

_TYPES = {"status": str, "level": int, "schema": int, "stack": str, "files": dict}


class CellFolder:
    """The folder of one cell. Reading never changes it; every write leaves it whole."""

    def __init__(self, study: Path, key: str) -> None:
        """Look at `study`/`key`, which need not exist yet."""
        self.folder = study / key

    def status(self) -> dict[str, Any]:
        """Return the cell's status; a missing, torn or foreign file reads as nothing done.

        Raises UserError where another version of this program wrote it, in a form that this one does not know.
        """
        try:
            return self.read_status()
        except (FileNotFoundError, BrokenFileError):
            return {"status": "pending", "level": -1}

    def read_status(self) -> dict[str, Any]:
        """Return what status.json holds. Raises FileNotFoundError, BrokenFileError, or UserError as `status` does."""
        content = read(self.folder / "status.json")
        try:
            found = json.loads(content)
        except ValueError as error:
            raise BrokenFileError("is not whole") from error
        if not isinstance(found, dict):
            raise BrokenFileError("is no status")
        digest = found.pop("sha256", None)  # older records have none
        if digest is not None and digest != _digest(found):
            raise BrokenFileError("does not hold what was written (its SHA-256 is another)")
        self._check_version(found.get("schema"))
        if not all(isinstance(found.get(name, kind()), kind) for name, kind in _TYPES.items()) or (
            not {"status", "level", "schema"} <= found.keys()
        ):
            raise BrokenFileError("is no status")
        return found

    def plan(self, cell: Cell, **fields: Any) -> None:
        """Make the folder with config and status, so that a cell that never starts is seen as missing."""
        need_folders(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        files = self.status().get("files", {}) | {"config.yaml": self.write_config(cell)}
        self.set_status("pending", levels=cell.config["levels"], key=cell.key, error=None, files=files, **fields)

    def write_config(self, cell: Cell) -> Noted:
        """Write config.yaml, and return what to note of it."""
        return write(self.folder / "config.yaml", yaml.safe_dump(dict(cell.config), sort_keys=False).encode())

    def set_status(self, status: str, **fields: Any) -> None:
        """Move to `status`, keeping the fields not given."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        before = {"schema": SCHEMA, "level": -1, "error": None, "seconds": 0.0, "started": now} | self.status()
        after = before | {"updated": now} | fields | {"status": status}
        write(self.folder / "status.json", (_text(after | {"sha256": _digest(after)}) + "\n").encode())

    def fail(self, reason: str) -> None:
        """Mark the cell as failed, in its log too, unless it has ended already."""
        if self.status()["status"] not in (*FINISHED, "failed"):
            self.log(reason)
            self.set_status("failed", error=reason)

    def log(self, text: str) -> None:
        """Add to the cell's log."""
        append(self.folder / "cell.log", f"{datetime.now().isoformat(sep=' ', timespec='seconds')}  {text.rstrip()}\n")

    def _check_version(self, schema: Any) -> None:
        if not isinstance(schema, int) or schema == SCHEMA:
            return
        path = self.folder / "status.json"
        if schema > SCHEMA:
            raise UserError(
                f"{path} was written by a newer ltsweep (its records are of version {schema}, this one knows "
                f"{SCHEMA}); update ltsweep, or take another study=NAME"
            )
        raise UserError(
            f"{path} was written by an older ltsweep (its records are of version {schema}, this one's are "
            f"{SCHEMA}); force=true computes it again, another study=NAME keeps it"
        )


def _text(status: dict[str, Any]) -> str:
    return json.dumps(status, indent=1)


def _digest(status: dict[str, Any]) -> str:
    return hashlib.sha256(_text(status).encode()).hexdigest()
