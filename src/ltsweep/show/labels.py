"""Cells, durations and errors in a few words."""

import json
from collections.abc import Sequence

from ltsweep.grid.cell import Cell
from ltsweep.grid.flat import flatten
from ltsweep.schema import NUMBERED

# Names in all configs together, above which a stranger's cells have no labels.
_MOST_NAMES = 2_000


def labels(cells: Sequence[Cell]) -> dict[str, str]:
    """Return key -> the values that tell a cell from the others of the study, such as `init=xavier_u lr=0.1`.

    Of a group the name comes first, where it varies; then the value of a group that is known by a number; then those
    fields that differ among the cells of one choice, for the cells that have them.
    """
    flat = {cell.key: flatten(cell.config) for cell in cells}
    names = dict.fromkeys(name for values in flat.values() for group in values for name in _columns(group))
    varying = [name for name in names if len({json.dumps(values.get(name)) for values in flat.values()}) > 1]
    shown = [
        name
        for name in varying
        if _is_choice(name) or _choice(name) not in varying or _differs_within_a_choice(name, list(flat.values()))
    ]
    return {
        key: " ".join(f"{_title(name)}={values[name]}" for name in shown if _holds(name, values)) or "the cell"
        for key, values in flat.items()
    }


def known_labels(cells: Sequence[Cell]) -> dict[str, str]:
    """Return the same for cells that may be a stranger's; nothing where comparing their names would take minutes."""
    names = {name for cell in cells for name in flatten(cell.config)}
    return labels(cells) if len(names) <= _MOST_NAMES else {}


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
