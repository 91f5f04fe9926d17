"""What a study's folder holds: its cells, how each stands, how large it is. No torch.

A study may come from a stranger: links are not followed, and a cell that cannot be read costs its own row alone.
"""

import contextlib
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltsweep.errors import BrokenFileError, UserError
from ltsweep.grid.cell import Cell
from ltsweep.grid.rules import whole
from ltsweep.schema import CONFIG, KEY, MOST_LEVELS, STATUS, is_weights_file
from ltsweep.store import disk, reader
from ltsweep.store.folder import NOT_BEGUN
from ltsweep.words import shown

# How a cell is shown whose records cannot be read; no record holds this status.
UNREADABLE = "unreadable"

_LEVELS = whole(0, MOST_LEVELS)


@dataclass(frozen=True)
class Study:
    """The cells of a study's folder, and key -> why a cell's config is not read."""

    cells: list[Cell]
    unread: dict[str, str]

    @property
    def keys(self) -> list[str]:
        """Return the keys of all cells, sorted."""
        return sorted([*(cell.key for cell in self.cells), *self.unread])


def study_of(folder: Path) -> Study:
    """Return the cells that a study's folder holds. Raises UserError if there are none."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give a study's, such as multirun/default")
    found = cells_in(folder)
    if not found.keys:
        raise UserError(f"{folder} holds no cells; give a study's folder, such as multirun/default")
    return found


def cells_in(folder: Path) -> Study:
    """Return the cells that a study's folder holds, which may be none."""
    found = Study([], {})
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not re.fullmatch(KEY, entry.name):
            continue
        try:
            if entry.is_symlink():
                raise BrokenFileError("is not read: its folder is a symbolic link, and a study never leaves its folder")
            config = reader.config(folder / entry.name, status_of(folder / entry.name).get("files", {}).get(CONFIG))
            if not _LEVELS.holds(config.get("levels")):
                raise BrokenFileError(f"is not a cell's config: levels is {shown(config.get('levels'))}")
        except FileNotFoundError:
            if os.path.lexists(folder / entry.name / STATUS):  # without it, there was nothing planned yet
                found.unread[entry.name] = "is missing"
        except BrokenFileError as error:
            found.unread[entry.name] = str(error)
        else:
            found.cells.append(Cell(config, entry.name))
    return found


def status_of(folder: Path) -> dict[str, Any]:
    """Return the fields of the status.json of a cell's folder; of one that cannot be read, that and why."""
    try:
        return reader.status(folder)
    except FileNotFoundError:
        return dict(NOT_BEGUN)
    except (BrokenFileError, UserError) as error:
        named = f"{STATUS} {error}" if isinstance(error, BrokenFileError) else str(error)
        return {**NOT_BEGUN, "status": UNREADABLE, "error": named}


def records_in(folder: Path) -> list[tuple[Cell, dict[str, Any]]]:
    """Return the cells of a study that can be read, each with the fields of its status.json; none without a folder."""
    disk.check_folders(folder)
    if not folder.is_dir():
        return []
    found = [(cell, status_of(folder / cell.key)) for cell in cells_in(folder).cells]
    return [(cell, status) for cell, status in found if status["status"] != UNREADABLE]


def with_kept_weights(folder: Path, without: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return key -> the fields of status.json for the cells of a study that hold weights which a method kept.

    without: keys of cells that are left out.
    """
    keys = sorted(entry.name for entry in os.scandir(folder)) if folder.is_dir() else []
    found = {key: status_of(folder / key) for key in keys if re.fullmatch(KEY, key) and key not in without}
    return {key: status for key, status in found.items() if any(map(is_weights_file, status.get("files", {})))}


def statuses_in(folder: Path, study: Study) -> dict[str, dict[str, Any]]:
    """Return key -> the fields of status.json for all cells of a study; of one that cannot be read, that and why."""
    found = {}
    for key in study.keys:
        found[key] = status_of(folder / key) if not (folder / key).is_symlink() else dict(NOT_BEGUN)
        if key in study.unread:
            found[key] |= {"status": UNREADABLE, "error": f"{CONFIG} {study.unread[key]}"}
    return found


def size_of(path: Path, without: Collection[str] = ()) -> int:
    """Return the bytes of the files below a path, links not followed. without: names of files that do not count."""
    total, left = 0, [path]
    while left:
        here = left.pop()
        with contextlib.suppress(OSError):  # it has just gone, or is not for us to see
            facts = here.lstat()
            if here.is_symlink() or not here.is_dir():
                total += facts.st_size if here.name not in without else 0
            else:
                left += [here / name for name in os.listdir(here)]
    return total
