"""What a study's folder holds beyond its cells, and no command needs: found without writing, removed by its holder.

Links are neither followed nor looked behind.
"""

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ltsweep.errors import UserError
from ltsweep.schema import BROKEN, CONFIG, FINISHED, KEY, LOG, SOURCES, STACKS, STATUS, TABLES, TICKETS
from ltsweep.store import disk
from ltsweep.store.contents import UNREADABLE, size_of, status_of
from ltsweep.store.hold import CLAIM, hold, is_held
from ltsweep.words import shown

# Names of set aside files that a line lists.
_NAMED = 6


@dataclass(frozen=True)
class Leftover:
    """One file or folder to remove. what: in words. size: bytes. holder: the folder to hold, the study or a cell's."""

    path: Path
    what: str
    size: int
    holder: Path


def leftovers(study: Path) -> list[Leftover]:
    """Return what can go of a study's folder, but for the cells that a process holds. Nothing is written.

    Of a study that is being computed it is no leftover. Raises UserError where the folder is a link.
    """
    disk.check_folders(study)
    cells = [study / name for name in sorted(os.listdir(study)) if re.fullmatch(KEY, name) and _is_folder(study / name)]
    found = [*_of_folder(study, STACKS, SOURCES), *_checkpoints(study, cells), *_copies(study, cells)]
    for cell in cells:
        if not is_held(cell):
            found += _no_cell(cell) or _of_folder(cell, TICKETS)
    return found


def remove_leftovers(study: Path, say: Callable[[str], None]) -> list[Leftover]:
    """Remove what can go of a study's folder, and return it.

    say: takes a line on each cell that another process holds, which is left as it is. Raises UserError where another
    process holds the study, and CannotWriteError.
    """
    claims = [one for one in leftovers(study) if one.path == study / CLAIM]  # which the hold removes
    with hold(study):
        found = leftovers(study)
        gone = [*claims, *_removed(found, study)]
        for cell in dict.fromkeys(one.holder for one in found if one.holder != study):
            try:
                with hold(cell):
                    gone += _removed(found, cell)
            except UserError as error:
                say(str(error))
        for inner in (STACKS, SOURCES):
            with contextlib.suppress(OSError):  # some are left, or there never were any
                (study / inner).rmdir()
    return gone


def _removed(found: list[Leftover], holder: Path) -> list[Leftover]:
    """Remove what belongs to a folder that the caller holds, whose hold removes its claim; return it."""
    mine = [one for one in found if one.holder == holder]
    for one in mine:
        if one.path.name != CLAIM:
            disk.remove(one.path)
    return mine


def _of_folder(folder: Path, *inner: str) -> list[Leftover]:
    """Return the half-written files, the broken files and the stale claim of a study or a cell."""
    half = [
        path
        for part in (folder, *(folder / name for name in inner))
        if _is_folder(part)
        for path in disk.leftovers(part)
    ]
    found = [Leftover(path, "half-written, by a killed process", size_of(path), folder) for path in sorted(half)]
    broken = folder / BROKEN
    if os.path.lexists(broken):
        names = sorted(os.listdir(broken)) if _is_folder(broken) else []
        listed = ", ".join(shown(name, 60) for name in names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
        found.append(Leftover(broken, f"set aside as broken: {listed or 'nothing'}", size_of(broken), folder))
    if os.path.lexists(folder / CLAIM) and not is_held(folder):
        found.append(Leftover(folder / CLAIM, "the claim of a process that is gone", size_of(folder / CLAIM), folder))
    return found


def _checkpoints(study: Path, cells: list[Path]) -> list[Leftover]:
    """Return the checkpoints of stacks without an unfinished cell; none while a status cannot be read."""
    statuses = [status_of(cell) for cell in cells]
    if not _is_folder(study / STACKS) or any(status["status"] == UNREADABLE for status in statuses):
        return []
    needed = {status.get("stack") for status in statuses if status["status"] not in FINISHED}
    paths = [study / STACKS / name for name in sorted(os.listdir(study / STACKS))]
    return [
        Leftover(path, "the checkpoint of a stack without an unfinished cell", size_of(path), study)
        for path in paths
        if re.fullmatch(rf"{KEY}\.safetensors", path.name) and path.stem not in needed
    ]


def _copies(study: Path, cells: list[Path]) -> list[Leftover]:
    """Return the copies of the user's own code that no status names.

    None while a status cannot be read, or a process holds a cell: it keeps its code before it writes its status.
    """
    statuses = [status_of(cell) for cell in cells]
    if not _is_folder(study / SOURCES) or any(status["status"] == UNREADABLE for status in statuses):
        return []
    if any(is_held(cell) for cell in cells):
        return []
    named = {f"{digest}.py" for status in statuses for digest in status.get("sources", {}).values()}
    return [
        Leftover(study / SOURCES / name, "code that made no cell of this study", size_of(study / SOURCES / name), study)
        for name in sorted(os.listdir(study / SOURCES))
        if re.fullmatch(r"[0-9a-f]{64}\.py", name) and name not in named
    ]


def _no_cell(folder: Path) -> list[Leftover]:
    """Return a folder that is named as a cell's and holds nothing of one: it was taken, and never planned."""
    if any(os.path.lexists(folder / name) for name in (CONFIG, STATUS, *TABLES, TICKETS)):
        return []
    names = set(os.listdir(folder)) - {path.name for path in disk.leftovers(folder)}
    if names - {".lock", CLAIM, LOG}:
        return []
    return [Leftover(folder, "the folder of no cell", size_of(folder), folder)]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
