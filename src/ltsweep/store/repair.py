"""Files of a cell that are not as they were written: found, named and set aside, so that nothing wrong is kept."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from ltsweep.errors import BrokenFileError
from ltsweep.grid.cell import Cell
from ltsweep.schema import (
    CONFIG,
    EVALUATIONS_FILE,
    FINISHED,
    INITIAL,
    LEVELS_FILE,
    LOG,
    READINGS_FILE,
    STATUS,
    TABLES,
    TICKETS,
    is_weights_file,
    ticket_file,
)
from ltsweep.store import disk, reader, tables
from ltsweep.store.disk import Noted
from ltsweep.store.folder import CellFolder, last_mask

# Files that are no loss, and what becomes of them: the command knows the config, whose hash is the cell's key.
_ANEW = {CONFIG: "it was written anew", LOG: "a new one was begun"}


def repair(study: Path, cell: Cell, goes_on: bool) -> list[str]:
    """Set aside each file of a cell that is not as it was written; a cell that needs it begins again.

    Returns a line on each such file, which is in the cell's log too. goes_on: whether the cell has something left to
    compute; of one that has not, files of the noted size and time of change are not read. The caller holds the cell.
    """
    records = CellFolder(study, cell.key)
    disk.drop_leftovers(records.folder)
    disk.drop_leftovers(records.folder / TICKETS)
    status: dict[str, Any] = {}
    broken = _no_files(records.folder)
    try:
        status = reader.status(records.folder)
        broken |= _broken(records.folder, status, goes_on)
    except FileNotFoundError:
        pass  # not begun
    except BrokenFileError as torn:
        broken[STATUS] = torn
    lost = not broken.keys() <= _ANEW.keys()
    lines = []
    for name, error in sorted(broken.items(), key=lambda item: item[0] != LOG):  # the log first, which is written to
        aside = disk.set_aside(records.folder / name, records.folder)
        lines.append(
            f"{records.folder / name} {error}; "
            + (f"it was set aside as {aside.relative_to(records.folder)}, and " if aside else "")
            + ("its cell is computed again" if lost else _ANEW[name])
        )
        records.log(lines[-1])
    if lost:
        records.drop_results()
    elif CONFIG in broken and status:
        files = status.get("files", {}) | {CONFIG: records.write_config(cell)}
        records.set_status(status["status"], files=files)
    return lines


def _no_files(folder: Path) -> dict[str, BrokenFileError]:
    """Return file -> what is wrong, for files in whose place is a link, a pipe or a folder: none can be written to."""
    found = {}
    for name in (LOG, CONFIG, *TABLES):
        if os.path.lexists(folder / name):
            try:
                disk.check(folder / name, None, thorough=False)
            except BrokenFileError as error:
                found[name] = error
    return found


def _broken(folder: Path, status: Mapping[str, Any], goes_on: bool) -> dict[str, BrokenFileError]:
    """Return file -> what is wrong with it, for all files of a cell that has ended, or those that one goes on from."""
    files: Mapping[str, Noted] = status.get("files", {})
    arms = status.get("arms", {})
    unfinished = goes_on or status["status"] not in FINISHED
    names = [CONFIG] * (CONFIG in files) if unfinished else [*files]
    if unfinished and arms:
        names += [INITIAL, *map(ticket_file, range(1, last_mask(status) + 1)), EVALUATIONS_FILE, LEVELS_FILE]
        names += [name for name in files if name == READINGS_FILE or is_weights_file(name)]
    broken = {}
    for name in names:
        try:
            if name in TABLES and unfinished:
                tables.rows_kept(folder / name, arms)  # it may be newer than its note, which is then no measure
            else:
                disk.check(folder / name, files.get(name), thorough=unfinished)
                if name not in files:
                    _check_ticket(folder / name)
        except BrokenFileError as error:
            broken[name] = error
    return broken


def _check_ticket(path: Path) -> None:
    """Raise BrokenFileError for a ticket that cannot be read: older records have no SHA-256 of it."""
    try:
        load_file(path)
    except Exception as error:
        raise BrokenFileError("is not a ticket, or not whole") from error
