"""A cell's folder as everything that follows a study sees it, without torch: config, status, log."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from ltsweep.errors import BrokenFileError
from ltsweep.grid.cell import Cell
from ltsweep.schema import (
    CONFIG,
    DIVERGED,
    ENDED,
    FAILED,
    INITIAL,
    LOG,
    PENDING,
    STATUS,
    TABLES,
    TICKET_ARM,
    TICKETS,
    VERSION,
    ticket_file,
)
from ltsweep.store import disk, reader
from ltsweep.store.disk import Noted
from ltsweep.words import printable

# Characters of a reason that status.json keeps; the log has the whole.
_MOST_REASON = 10_000

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
            return reader.status(self.folder)
        except (FileNotFoundError, BrokenFileError):
            return dict(NOT_BEGUN)

    def seen(self) -> tuple[int, int, int] | None:
        """Return inode, time of change and size of status.json: others once it is written again. None without it."""
        try:
            facts = (self.folder / STATUS).lstat()
        except OSError:
            return None
        return facts.st_ino, facts.st_mtime_ns, facts.st_size

    def config(self) -> dict[str, Any] | None:
        """Return the config on record; None if it is missing, or is not what was written."""
        try:
            return reader.config(self.folder, self.status().get("files", {}).get(CONFIG))
        except (FileNotFoundError, BrokenFileError):
            return None

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
        disk.write(self.folder / STATUS, (reader.text_of(after | {"sha256": reader.digest_of(after)}) + "\n").encode())

    def fail(self, reason: str, trace: str = "") -> bool:
        """Mark the cell as failed, unless it has ended already; return whether it was marked.

        The log gets the traceback `trace` if there is one, else the reason.
        """
        reason = printable(reason)[:_MOST_REASON]
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
        disk.remove(self.folder / LOG)


def statuses_of(cells: Iterable[Cell], study: Path) -> dict[str, dict[str, Any]]:
    """Return key -> the fields of its status.json, for each of `cells`."""
    return {cell.key: CellFolder(study, cell.key).status() for cell in cells}


def mates_of(
    cells: Iterable[Cell], statuses: Mapping[str, Mapping[str, Any]], study: Path
) -> dict[str, dict[str, Any]]:
    """Return key -> status of cells that are not among `statuses`, with which one of `cells` began its stack."""
    others = {key for cell in cells for key in statuses[cell.key].get("stack_keys", ())} - statuses.keys()
    return {key: CellFolder(study, key).status() for key in sorted(others)}


def last_mask(status: Mapping[str, Any]) -> int:
    """Return the last level of which a cell's records have the masks, 0 for none; `status`: fields of status.json.

    The ticket's last level left those of the next one, but for a level at which it diverged. Where a level learns its
    masks it left its own alone, as the noted files tell; records that are older than these notes have no such levels.
    """
    last = int(status.get("arms", {}).get(TICKET_ARM, -1))
    last = last if status["status"] == DIVERGED else last + 1
    noted = status.get("files", {})
    return last - 1 if INITIAL in noted and last > 0 and ticket_file(last) not in noted else last
