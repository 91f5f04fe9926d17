"""Files of a cell that are not as they were written: found, named and set aside, so that nothing wrong is kept."""

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
    READINGS_FILE,
    STATUS,
    TABLES,
    TICKETS,
    ticket_file,
)
from ltsweep.store import disk, reader, tables
from ltsweep.store.disk import Noted
from ltsweep.store.folder import CellFolder


def repair(study: Path, cell: Cell) -> list[str]:
    """Set aside each file of a cell that is not as it was written; a cell that needs it begins again.

    Returns a line on each such file, which is in the cell's log too. Files of a finished cell whose size and time of
    change are the noted ones are not read. The caller holds the cell.
    """
    records = CellFolder(study, cell.key)
    disk.drop_leftovers(records.folder)
    disk.drop_leftovers(records.folder / TICKETS)
    files: dict[str, Noted] = {}
    try:
        status = reader.status(records.folder)
    except FileNotFoundError:
        return []
    except BrokenFileError as torn:
        broken: dict[str, BrokenFileError] = {STATUS: torn}
    else:
        files = status.get("files", {})
        broken = _broken(records.folder, status, files)
    if not broken:
        return []
    lost = broken.keys() != {CONFIG}  # the command knows the config, whose hash is the cell's key
    lines = []
    for name, error in broken.items():
        aside = disk.set_aside(records.folder / name, records.folder)
        lines.append(
            f"{records.folder / name} {error}; "
            + (f"it was set aside as {aside.relative_to(records.folder)}, and " if aside else "")
            + ("its cell is computed again" if lost else "it was written anew")
        )
        records.log(lines[-1])
    if lost:
        records.drop_results()
    else:
        records.set_status(status["status"], files=files | {CONFIG: records.write_config(cell)})
    return lines


def _broken(folder: Path, status: Mapping[str, Any], files: Mapping[str, Noted]) -> dict[str, BrokenFileError]:
    """Return file -> what is wrong with it, for all files of a finished cell, or those that another goes on from."""
    finished, level = status["status"] in FINISHED, status["level"] + 1
    names = [*files] if finished else [CONFIG] * (CONFIG in files)
    if not finished and level:
        names += [INITIAL, ticket_file(level), EVALUATIONS_FILE, LEVELS_FILE]
        names += [READINGS_FILE] * (READINGS_FILE in files)
    broken = {}
    for name in names:
        try:
            if name in TABLES and not finished:
                tables.rows_before(folder / name, level)  # it may be newer than its note, which is then no measure
            else:
                disk.check(folder / name, files.get(name), thorough=not finished)
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
