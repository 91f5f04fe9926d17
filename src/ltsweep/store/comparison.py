"""Two studies side by side: cells of equal key whose numbers differ, and the nearest cells of those in one alone."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ltsweep.errors import BrokenFileError
from ltsweep.grid.cell import Cell
from ltsweep.grid.flat import flatten
from ltsweep.schema import FINISHED, TABLES
from ltsweep.store import tables
from ltsweep.store.contents import UNREADABLE
from ltsweep.store.tables import Row, counts
from ltsweep.words import shown

# Columns that tell the rows of a table apart, in this order; and those that are another in every run.
_PLACE = ("arm", "draw", "level", "iteration", "name", "place", "at")
_TIMES = ("seconds",)

# Names that a line lists, and rows of a table that are compared: more would not fit into a small machine's memory.
_NAMED, _MOST_ROWS = 4, 200_000


def nearest(cell: Cell, others: Sequence[Cell]) -> tuple[Cell, dict[str, tuple[object, object]]] | None:
    """Return the cell of another study that differs in the fewest config values; None where that study has none.

    Of equals the one whose numbers are nearest. Beside it: dotted name -> the value of `cell` and of the other, for the
    values that differ.
    """
    mine = flatten(cell.config)
    best: tuple[tuple[int, float], Cell, dict[str, tuple[object, object]]] | None = None
    for other in others:
        theirs = flatten(other.config)
        names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
        values = {name: (mine.get(name), theirs.get(name)) for name in names}
        rank = len(names), sum(_distance(one, two) for one, two in values.values())
        if best is None or rank < best[0]:
            best = rank, other, values
    return None if best is None else best[1:]


def differences(one: Path, other: Path, said: Mapping[str, Any], says: Mapping[str, Any]) -> list[str]:
    """Return in words how the records of two folders of one cell differ, but for the seconds they took.

    said, says: the fields of the status of each, as `contents.status_of` gives them. Only levels that both count are
    compared.
    """
    for folder, status in ((one, said), (other, says)):
        if status["status"] == UNREADABLE:
            return [f"{folder} cannot be read: {shown(status['error'])}"]
    found = []
    if (said["status"], said["level"]) != (says["status"], says["level"]):
        found.append(f"{said['status']} at level {said['level']}, and {says['status']} at level {says['level']}")
    for file in TABLES:
        rows = []
        for folder, status in ((one, said), (other, says)):
            try:
                mine = _rows(folder, file, status).items()
                rows.append({place: row for place, row in mine if counts(row, said) and counts(row, says)})
            except BrokenFileError as error:
                found.append(f"{folder / file} {error}")
        if len(rows) == 2:
            found += _between(file, *rows)
    digests = [{name: noted[2] for name, noted in status.get("files", {}).items()} for status in (said, says)]
    names = [name for name in digests[0] if name.startswith("tickets/") and digests[0][name] != digests[1].get(name)]
    names = [name for name in names if name in digests[1]]
    if names:
        found.append(f"other weights or masks in {', '.join(names[:_NAMED])}{', ...' * (len(names) > _NAMED)}")
    return found


def _rows(folder: Path, file: str, status: Mapping[str, Any]) -> dict[tuple[object, ...], Row]:
    """Return place -> row of a table; none where there is no file."""
    noted = status.get("files", {}).get(file) if status["status"] in FINISHED else None  # it may be newer than its note
    try:
        found = tables.read(folder / file, noted)
    except FileNotFoundError:
        return {}
    if found.num_rows > _MOST_ROWS:
        raise BrokenFileError(f"has more than {_MOST_ROWS:,} rows, and is not compared")
    return {tuple(row.get(name) for name in _PLACE): row for row in found.to_pylist()}


def _between(file: str, mine: Mapping[tuple[object, ...], Row], theirs: Mapping[tuple[object, ...], Row]) -> list[str]:
    """Return how two tables differ: rows that one lacks, and the largest difference between numbers of one place."""
    found = (
        [f"{count:,} row{'s' * (count != 1)} of {file} in one alone"]
        if (count := len(mine.keys() ^ theirs.keys()))
        else []
    )
    columns = [name for name in TABLES[file] if name not in (*_PLACE, *_TIMES)]
    differ: list[tuple[bool, float, str, tuple[object, ...]]] = []
    rows = 0
    for place in mine.keys() & theirs.keys():
        here = [
            (TABLES[file][name] == "float64", _distance(mine[place][name], theirs[place][name]), name, place)
            for name in columns
            if not _is_same(mine[place][name], theirs[place][name])
        ]
        rows, differ = rows + bool(here), differ + here
    if differ:  # a score says more than a count, which follows from it
        _, _, name, place = max(differ, key=lambda one: (*one[:3], str(one[3])))
        values = " and ".join(_written(row[place][name]) for row in (mine, theirs))
        found.append(f"{rows:,} row{'s' * (rows != 1)} of {file}, most in {name} ({_where(place)}): {values}")
    return found


def _is_same(one: object, other: object) -> bool:
    return one == other or (one != one and other != other)


def _distance(one: object, other: object) -> float:
    if isinstance(one, int | float) and isinstance(other, int | float) and not math.isnan(one - other):
        return abs(one - other)
    return math.inf


def _where(place: tuple[object, ...]) -> str:
    return ", ".join(
        shown(value) if name == "arm" else f"{name} {shown(value)}"
        for name, value in zip(_PLACE, place, strict=True)
        if value is not None
    )


def _written(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else shown(value)
