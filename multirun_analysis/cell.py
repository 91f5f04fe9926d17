"""One cell's folder, read with every way it can be wrong. The only file here that reads a study's records."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ltsweep.errors import BrokenFileError, UserError
from ltsweep.grid.key import digest, key, without
from ltsweep.schema import (
    CONFIG,
    DONE,
    EVALUATIONS_FILE,
    EXTENT,
    FINISHED,
    LEVELS_FILE,
    PENDING,
    RUNNING,
    TABLES,
    headline_of,
)
from ltsweep.schema import STATUS as STATUS_FILE
from ltsweep.store import disk, reader, tables
from ltsweep.store.disk import Noted
from ltsweep.words import shown
from multirun_analysis import configs, metrics
from multirun_analysis.schema import HEADLINE, UNREADABLE

T = TypeVar("T")

# Characters of a reason that is shown.
_MOST_REASON = 400

# Times that a status is read again while a cell that is being computed changes under its reader.
_TRIES, _PAUSE = 20, 0.05

# Greatest finite number of a table, float32's: no training gives a greater one, and sums of its squares are finite.
_GREATEST = 3.5e38

# Greatest finite value of a reading: the variance over layers of the mean squares of such numbers.
_GREATEST_READING = 2e154


class Cell(NamedTuple):
    """One cell: its row of the cells table, its config values by column, and its tables by file name.

    apart: a hash of its whole config but for the seed and how far it goes, which tells it from a cell of the same
    columns. identity: its key as of today's version, which cells of older records may share. sources: module of the
    user's own -> SHA-256 of its code.
    """

    row: dict[str, object]
    config: dict[str, object]
    tables: Mapping[str, pa.Table] = {}
    apart: str = ""
    identity: str = ""
    sources: Mapping[str, str] = {}

    def of(self, study: str) -> "Cell":
        """Return the cell with the name of its study, where several are read as one, in its key and config."""
        if not study:
            return self
        named = self.row | {"key": f"{study}/{self.row['key']}"}
        return self._replace(row=named, config={"study": study, **self.config})


def read(folder: Path) -> Cell:
    """Return the cell of a folder. One that cannot be read has the status `unreadable`, a reason and no tables.

    Rows are those of the levels that its status counts as finished: a table may hold one more while a cell is computed.
    """
    values: dict[str, object] = {}
    apart = identity = ""
    row: dict[str, object] = {"key": folder.name, "status": UNREADABLE, "level": -1, "seconds": np.nan}
    try:
        _check_no_link(folder)
        with _named(CONFIG):
            whole = reader.config(folder)
            if type(whole.get("seed")) is not int or not 0 <= whole["seed"] < 2**63:
                raise BrokenFileError("has no whole number as its seed, by which cells are paired")
            values = configs.values(whole)
            apart, identity = digest(without(whole, "seed", *EXTENT)), key(whole)
        said = _status(folder)
        row |= {"level": said["level"], "seconds": float(said.get("seconds", 0.0))}
        said, found = _settled(folder, said, lambda now: _tables(folder, _with_config(folder, now)))
    except BrokenFileError as error:
        return Cell(row | {"reason": shown(str(error), _MOST_REASON)}, values, apart=apart)
    row |= {"level": said["level"], "seconds": float(said.get("seconds", 0.0))}
    row |= {"status": said["status"], "reason": _reason(said)}
    if LEVELS_FILE in found:
        row[HEADLINE] = headline_of(found[LEVELS_FILE].column_names)
    return Cell(row, values, found, apart, identity, said.get("sources", {}))


def config(cell: Path) -> Mapping[str, Any]:
    """Return the resolved config of a cell, whole, `_target_` and all; nothing where it cannot be read."""
    try:
        return reader.config(cell, _note(status(cell), CONFIG))
    except (FileNotFoundError, BrokenFileError):
        return {}


def status(cell: Path) -> Mapping[str, Any]:
    """Return what a cell's status.json holds; nothing where it cannot be read."""
    try:
        _check_no_link(cell)
        return _status(cell)
    except BrokenFileError:
        return {}


def file(cell: Path, name: str, take: Callable[[Path, Noted | None], T]) -> T | None:
    """Return what `take` makes of a file of a cell and of its note in status.json; None where there is no such file.

    Raises BrokenFileError, in words that begin with the file's name, where it is not what was noted.
    """

    def taken(said: Mapping[str, Any]) -> T | None:
        noted = _note(said, name)
        with _named(name):
            _check_no_link((cell / name).parent)
            if noted is None and not (cell / name).exists():
                return None
            return take(cell / name, noted)

    _check_no_link(cell)
    return _settled(cell, _status(cell), taken)[1]


def _settled(folder: Path, said: dict[str, Any], take: Callable[[Mapping[str, Any]], T]) -> tuple[dict[str, Any], T]:
    """Return a cell's status and what `take` makes of it, by a status that did not change meanwhile.

    A cell that is being computed writes its files a moment before the status that notes them. So where one is not as
    noted, the status is read again, for up to a second.
    """
    for _ in range(_TRIES):
        try:
            return said, take(said)
        except BrokenFileError:
            before, said = said, _status(folder)
            if said == before and said["status"] in FINISHED:
                break
            if said == before:
                time.sleep(_PAUSE)
    return said, take(said)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Name the file in what is wrong with it."""
    try:
        yield
    except FileNotFoundError:
        raise BrokenFileError(f"{name} is missing") from None
    except BrokenFileError as error:
        raise BrokenFileError(f"{name} {error}") from None
    except UserError as error:  # of another version; it names the file
        raise BrokenFileError(str(error)) from None


def _check_no_link(folder: Path) -> None:
    if folder.is_symlink():
        raise BrokenFileError(f"{folder.name} is a symbolic link, and none is followed")


def _status(folder: Path) -> dict[str, Any]:
    with _named(STATUS_FILE):
        return reader.status(folder)


def _note(said: Mapping[str, Any], name: str) -> Noted | None:
    files: Mapping[str, Noted] = said.get("files", {})  # older records have none
    return files.get(name)


def _with_config(folder: Path, said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a status whose config is as it notes: how far a cell goes is not in the key."""
    with _named(CONFIG):
        if (noted := _note(said, CONFIG)) is not None:
            disk.check(folder / CONFIG, noted, thorough=True)
    return said


def _tables(folder: Path, said: Mapping[str, Any]) -> dict[str, pa.Table]:
    found = {name: _table(folder / name, said) for name in TABLES}
    if found[EVALUATIONS_FILE] is None or found[LEVELS_FILE] is None:
        if said["status"] == DONE:
            raise BrokenFileError(f"done, but {EVALUATIONS_FILE} or {LEVELS_FILE} is missing")
        # A cell that is not done may have stopped before or between its files; a done one has both.
        return {}
    there = {name: table for name, table in found.items() if table is not None}
    with _named(LEVELS_FILE):
        tables.check_alike(there[EVALUATIONS_FILE].column_names, there[LEVELS_FILE].column_names)
    return there


def _table(path: Path, said: Mapping[str, Any]) -> pa.Table | None:
    """Return a table's rows of the levels that count; None where there is no such file and none is noted."""
    noted = _note(said, path.name)
    with _named(path.name):
        try:
            table = tables.read(path, noted)
        except FileNotFoundError:
            if noted is None:
                return None
            raise
        _check_numbers(table)
        if path.name == LEVELS_FILE and any(len(set(layers)) < len(layers) for layers in table["layers"].to_pylist()):
            raise BrokenFileError("has a layer twice in a row")
    rows = table.select(["arm", "draw", "level"]).to_pylist()
    kept = [tables.counts(row, said) for row in rows]
    return table if all(kept) else table.filter(pa.array(kept, pa.bool_()))


def _check_numbers(table: pa.Table) -> None:
    """Raise BrokenFileError for numbers that no training gives, and that no statistic survives."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_floating(column.type):
            continue
        share = metrics.of(name).ends
        greatest = _GREATEST_READING if name == "value" else _GREATEST
        least, most = share or (-greatest, greatest)
        for value in pc.min_max(column).as_py().values():
            far = value is not None and (value < least or value > most)  # not a number is what was not held out
            if far and (share or not np.isinf(value)):  # a cell that diverges has infinite losses
                raise BrokenFileError(f"has a {name} of {value:g}")


def _reason(said: Mapping[str, Any]) -> str:
    """Return why a cell is not done, in a line; empty for one that is."""
    if error := str(said.get("error") or "").strip():
        return shown(error.splitlines()[-1], _MOST_REASON)
    if said["status"] == PENDING:
        return "not started"
    if said["status"] == RUNNING:
        return f"at level {said['level']} of {said.get('levels')}"
    return "" if said["status"] == DONE else "no reason recorded"
