"""Cells, durations and errors in a few words."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ltsweep.grid.cell import Cell
from ltsweep.grid.flat import flatten
from ltsweep.schema import NUMBERED

# Names in all configs together, above which a stranger's cells have no labels: comparing them would take minutes.
_MOST_NAMES = 2_000

# In place of a value, where a cell has none of a name.
_ABSENT = object()


@dataclass(frozen=True)
class Varying:
    """The names by which cells are told apart, such as init and lr, and key -> the values of these names."""

    titles: Sequence[str]
    values: Mapping[str, Sequence[object]]

    def texts(self, key: str) -> list[str]:
        """Return the value of each name as text, empty where the cell has none."""
        return ["" if value is _ABSENT else str(value) for value in self._of(key)]

    def label(self, key: str) -> str:
        """Return the names and values in one text, such as `init=xavier_u lr=0.1`."""
        found = zip(self.titles, self._of(key), strict=True)
        return " ".join(f"{title}={value}" for title, value in found if value is not _ABSENT) or "the cell"

    def place(self, key: str) -> tuple[object, ...]:
        """Return what sorts keys by the values of each name: numbers as numbers, then text; then by the key itself."""
        return (*map(_place, self._of(key)), key)

    def _of(self, key: str) -> Sequence[object]:
        return self.values.get(key, [_ABSENT] * len(self.titles))


def labels(cells: Sequence[Cell]) -> dict[str, str]:
    """Return key -> the values that tell a cell from the others of the study, such as `init=xavier_u lr=0.1`."""
    found = varying(cells)
    return {key: found.label(key) for key in found.values}


def varying(cells: Sequence[Cell]) -> Varying:
    """Return the names whose values differ among the cells of a study.

    Of a group the name comes first, where it varies; then the value of a group that is known by a number; then those
    fields that differ among the cells of one choice, for the cells that have them. A SHA-256 that follows from what it
    is of is left out, and so is a field with the data set's value of the same name.
    """
    flat = {cell.key: flatten(cell.config) for cell in cells}
    names = dict.fromkeys(name for values in flat.values() for group in values for name in _columns(group))
    varying = [name for name in names if len({json.dumps(values.get(name)) for values in flat.values()}) > 1]
    shown = [
        name
        for name in varying
        if (_is_choice(name) or _choice(name) not in varying or _differs_within_a_choice(name, list(flat.values())))
        and not _follows(name, list(flat.values()))
    ]
    values = {key: [row[name] if _holds(name, row) else _ABSENT for name in shown] for key, row in flat.items()}
    return Varying([_title(name) for name in shown], values)


def _place(value: object) -> tuple[int, float, str]:
    if value is _ABSENT:
        return 2, 0.0, ""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return 0, float(value), ""
    return 1, 0.0, str(value)


def known_varying(cells: Sequence[Cell]) -> Varying:
    """Return what `varying` does for cells that may be a stranger's: no names where there are very many of them."""
    names = {name for cell in cells for name in flatten(cell.config)}
    return varying(cells) if len(names) <= _MOST_NAMES else Varying([], {})


def known_labels(cells: Sequence[Cell]) -> dict[str, str]:
    """Return key -> the label of a cell that may be a stranger's."""
    known = known_varying(cells)
    return {cell.key: known.label(cell.key) for cell in cells} if known.values else {}


def _columns(name: str) -> tuple[str, ...]:
    """Return the columns of a name of the flat config: a numbered group's name comes before its value."""
    return (f"{name}.name", name) if name in NUMBERED else (name,)


def _choice(name: str) -> str:
    """Return the column that holds the choice of a name's group; the group's other fields belong to that choice."""
    group = name.partition(".")[0]
    return f"{group}.name" if group in NUMBERED else group


def _is_choice(name: str) -> bool:
    return "." not in name or name == _choice(name)


def _differs_within_a_choice(name: str, cells: Sequence[dict[str, object]]) -> bool:
    values: dict[str, set[str]] = {}
    for cell in cells:
        values.setdefault(json.dumps(cell.get(_choice(name))), set()).add(json.dumps(cell.get(name)))
    return any(len(found) > 1 for found in values.values())


def _follows(name: str, cells: Sequence[dict[str, object]]) -> bool:
    """Return whether a name says what another field says.

    It is the SHA-256 of what that field names, one for each of its values, or has the data set's value of
    the same name.
    """
    own = f"dataset.{name.partition('.')[2]}"
    if own != name and all(own in cell and cell.get(name) == cell[own] for cell in cells):
        return True
    field = name.removesuffix("_sha256")
    pairs = {(json.dumps(cell.get(field)), json.dumps(cell.get(name))) for cell in cells}
    return field != name and len(pairs) == len({named for named, _ in pairs})


def _title(name: str) -> str:
    return name.removesuffix(".name") if name == _choice(name) else name


def _holds(name: str, values: dict[str, object]) -> bool:
    return name in values and not (name in NUMBERED and values[name] is None)


def duration(seconds: float) -> str:
    """Return seconds as `42 s`, `3 min 20 s` or `2 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def bytes_(count: float) -> str:
    """Return bytes as `512 B`, `3.4 kB` or `120 MB`, in powers of a thousand."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.5 else f"{count:.2g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def count_cells(count: int) -> str:
    """Return a number of cells as `1 cell` or `1,024 cells`."""
    return f"{count:,} cell{'s' * (count != 1)}"


def last_line(error: object) -> str:
    """Return the last line of a recorded error, which names it; an empty text for None."""
    return (str(error or "").strip().splitlines() or [""])[-1]
