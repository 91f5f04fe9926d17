"""The commands of `python -m ltsweep.study` that only look: a list of a study's cells, and two studies compared."""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ltsweep.grid.cell import Cell
from ltsweep.grid.flat import flatten
from ltsweep.grid.where import chosen
from ltsweep.show.labels import bytes_, count_cells, known_labels, last_line
from ltsweep.show.page import Column, page, plain, table
from ltsweep.store.comparison import differences, nearest
from ltsweep.store.contents import Study, size_of, statuses_in, study_of
from ltsweep.store.provenance import maker
from ltsweep.words import shown

# Columns of a page that is not a terminal: one line a cell, for grep and the like.
_WIDE = 1_000
# Characters of a cell's label and of a reason.
_LABEL, _REASON = 200, 600
# Cells of one study alone that are listed.
_ROWS = 16
# Config values, and versions, that a line lists.
_NAMED = 4

# On a narrow terminal the columns that can be long are wrapped: the others stay whole.
_LISTED: list[Column] = [
    ("cell", "fold"),
    *((name, "left") for name in ("status", "level")),
    ("size", "right"),
    *((name, "fold") for name in ("made (UTC)", "by ltsweep", "key", "")),
]


def list_cells(given: argparse.Namespace) -> int:
    """Print a row for each cell of `given.study` for which all of `given.where` hold, and totals; return 0."""
    study = study_of(given.study)
    statuses = statuses_in(given.study, study)
    keys = matching(study, statuses, given.where)
    names, levels = known_labels(study.cells), {cell.key: cell.config["levels"] for cell in study.cells}
    sizes = {key: size_of(given.study / key) for key in keys}
    rows = [
        (
            shown(names.get(key, ""), _LABEL),
            str(status["status"]),
            f"{max(0, status['level'])} / {levels[key]}" if key in levels else "",
            bytes_(sizes[key]),
            _moment(status),
            _version(status),
            key,
            shown(last_line(status.get("error")), _REASON),
        )
        for key, status in ((key, statuses[key]) for key in keys)
    ]
    page(_WIDE).print(table(_LISTED, rows))
    mine = [statuses[key] for key in keys]
    counts = ", ".join(f"{count} {status}" for status, count in Counter(one["status"] for one in mine).items())
    moments = sorted(set(filter(None, map(_moment, mine))))
    versions = sorted(set(filter(None, map(_version, mine))))
    beside = size_of(given.study) - sum(size_of(given.study / key) for key in study.keys)
    parts = [
        f"{count_cells(len(keys))}{f' of {len(study.keys):,}' if given.where else ''}, {counts}",
        f"{bytes_(sum(sizes.values()))}, and {bytes_(beside)} beside the cells",
        f"made {' to '.join(dict.fromkeys((moments[0], moments[-1])))} UTC" if moments else "",
        f"by ltsweep {', '.join(versions[:_NAMED])}{', ...' * (len(versions) > _NAMED)}" if versions else "",
    ]
    say(f"{given.study}: {'; '.join(part for part in parts if part)}")
    return 0


def compare(given: argparse.Namespace) -> int:
    """Print how `given.study` and `given.other` differ; return 0 where they do not, else 1."""
    folders = given.study, given.other
    one, other = studies = [study_of(folder) for folder in folders]
    says = [statuses_in(folder, study) for folder, study in zip(folders, studies, strict=True)]
    both = sorted(set(one.keys) & set(other.keys))
    names = known_labels([*{cell.key: cell for study in studies for cell in study.cells}.values()])
    counts = [f"{folder}: {count_cells(len(study.keys))}" for folder, study in zip(folders, studies, strict=True)]
    say(f"{'; '.join(counts)}; {len(both):,} in both")
    differ = {
        key: found
        for key in both
        if (found := differences(folders[0] / key, folders[1] / key, says[0][key], says[1][key]))
    }
    for folder, mine, theirs in ((folders[0], one, other), (folders[1], other, one)):
        _say_lone(folder, mine, theirs, names)
    for key, lines in differ.items():
        say(f"{key}  {shown(names.get(key, ''), _LABEL)}")
        for line in lines:
            say(f"    {shown(line, _REASON)}")
    lone = set(one.keys) ^ set(other.keys)
    if lone or differ:
        say(f"they differ: {len(lone):,} cells in one alone, {len(differ):,} with other records")
        return 1
    say("no difference but in the seconds that they took")
    return 0


def _say_lone(folder: Path, mine: Study, theirs: Study, names: Mapping[str, str]) -> None:
    """Print the cells that one study alone has, each with the nearest cell of the other."""
    lone = sorted(set(mine.keys) - set(theirs.keys))
    if lone:
        say(f"only in {folder}: {count_cells(len(lone))}")
    cells = {cell.key: cell for cell in mine.cells}
    for key in lone[:_ROWS]:
        near = nearest(cells[key], theirs.cells) if key in cells else None
        say(f"{key}  {shown(names.get(key, ''), _LABEL)}{_nearest(*near) if near else ''}")
    if len(lone) > _ROWS:
        say(f"and {len(lone) - _ROWS:,} more")


def _nearest(other: Cell, values: Mapping[str, tuple[object, object]]) -> str:
    listed = [f"{shown(name)} {shown(here)} here, {shown(there)} there" for name, (here, there) in values.items()]
    return f"; nearest there {other.key}: {'; '.join(listed[:_NAMED])}{'; ...' * (len(listed) > _NAMED)}"


def matching(study: Study, statuses: Mapping[str, Mapping[str, Any]], wheres: Sequence[str]) -> list[str]:
    """Return the keys for which all of `wheres` hold, sorted. Raises UserError where there are none."""
    flat = {cell.key: flatten(cell.config) for cell in study.cells}
    names = dict.fromkeys(name for values in flat.values() for name in values)
    keys = study.keys
    for expression in wheres:
        columns: dict[str, list[Any]] = {name: [flat.get(key, {}).get(name) for key in keys] for name in names}
        columns |= {"key": keys, "status": [str(statuses[key]["status"]) for key in keys]}
        keys = [key for key, holds in zip(keys, chosen(columns, expression), strict=True) if holds]
    return keys


def _moment(status: Mapping[str, Any]) -> str:
    """Return when a cell was begun, in minutes of UTC, as its status says."""
    return shown(str(status.get("started", ""))[:16].replace("T", " "))


def _version(status: Mapping[str, Any]) -> str:
    """Return the version of ltsweep that made a cell."""
    return shown(maker(status.get("versions", {})))


def say(line: str) -> None:
    """Print a line as it stands."""
    page(_WIDE).print(plain(line))
