"""Where every cell of a study stands, on the terminal: what `python -m ltsweep.status` shows.

A study may come from a stranger: whatever its files hold, each cell has its row, and every row is one printable line.
"""

import argparse
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ltsweep.cluster import ledger, slurm
from ltsweep.cluster.follow import cancel
from ltsweep.cluster.watch import UNREADABLE, Standing, Watch
from ltsweep.errors import BrokenFileError, CannotWriteError, UserError
from ltsweep.grid.cell import Cell
from ltsweep.grid.flat import flatten
from ltsweep.grid.rules import whole
from ltsweep.schema import CONFIG, FAILED, KEY, MOST_LEVELS, PENDING, STATUS
from ltsweep.show.cells import CellTable, Row
from ltsweep.show.labels import Varying, count_cells, last_line, varying
from ltsweep.show.page import WIDE, Column, page, plain
from ltsweep.store import reader
from ltsweep.words import printable, shown

# Characters of a reason and of a note.
_REASON = 600
# Files that the notes name, each in a line.
_NAMED = 4
# Names in all configs together, above which cells have no labels: finding the values that vary would take minutes.
_MOST_NAMES = 2_000

_LEVELS = whole(0, MOST_LEVELS)

_COLUMNS: list[Column] = [(name, "left") for name in ("status", "level", "task", "key")]


@dataclass(frozen=True)
class Study:
    """The cells of a study's folder, and key -> why a cell's config is not read."""

    cells: list[Cell]
    unread: dict[str, str]

    @property
    def keys(self) -> list[str]:
        """Return the keys of all cells, sorted."""
        return sorted([*(cell.key for cell in self.cells), *self.unread])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0, or 2 for a mistake."""
    try:
        _run(_given(arguments))
    except (UserError, OSError) as error:
        print(f"ltsweep: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        sys.exit(2)


def _given(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ltsweep.status",
        usage="%(prog)s [--json] [--cancel] STUDY\n"
        "       %(prog)s STUDY --resubmit-failed [--config-dir DIR] [--allow MODULE] [OVERRIDE ...]",
        description="Show how every cell of a study stands, and why a failed one failed.",
        allow_abbrev=False,
    )
    parser.add_argument("study", type=Path, metavar="STUDY", help="the study's folder, multirun/<study>")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="OVERRIDE",
        help="settings for --resubmit-failed, as the command takes them: hydra.launcher.partition=gpu data_dir=DIR; "
        "the preset is hydra/launcher=slurm, and nothing is taken from what the study says of its last submission",
    )
    parser.add_argument("--cancel", action="store_true", help="cancel its tasks in Slurm's queue, running ones too")
    parser.add_argument(
        "--resubmit-failed", action="store_true", help="submit the failed cells again, with the settings given here"
    )
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="a folder of your own presets")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module of your own that the study's configs name and that may run; several times for several",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the table")

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; --help lists the options")

    parser.error = refuse  # type: ignore[method-assign]
    given = parser.parse_intermixed_args(arguments)
    if not given.resubmit_failed and (given.overrides or given.config_dir or given.allow):
        raise UserError(f"{shown(' '.join(given.overrides) or '--config-dir, --allow')}: this is for --resubmit-failed")
    for module in given.allow:
        if not all(part.isidentifier() for part in module.split(".")):
            raise UserError(f"--allow {shown(module)} is no name of a module")
    return given


def _run(given: argparse.Namespace) -> None:
    study = study_of(given.study)
    watch, keys = Watch(given.study), study.keys
    notes: list[str] = []
    try:
        standings = watch.settle(keys)
    except CannotWriteError as error:  # a look needs no marks
        notes.append(str(error))
        watch = Watch(given.study, mark=False)
        standings = watch.settle(keys)
    if given.cancel:
        slurm.check_commands()
        standings, left = cancel(watch, keys)
        notes += [f"task {task} was not cancelled: {why}" for task, why in left.items()]
    if given.resubmit_failed:
        from ltsweep.cluster.resubmit import given_settings, resubmit  # loads torch, which a look does without

        settings, options = given_settings(given.overrides, given.config_dir, given.study)
        failed = [cell for cell in study.cells if standings[cell.key].status == FAILED]
        resubmit(failed, study.cells, settings, options, given.allow)
        standings = watch.look(keys)
    notes += _unread_submissions(given.study)
    if watch.unreachable:
        notes.append(watch.unreachable)
    for key, why in study.unread.items():
        one = standings[key]
        standings[key] = Standing(UNREADABLE, one.level, f"{CONFIG} {why}", one.task, one.state)
    show = _as_json if given.json else _as_table
    show(given.study, study, standings, notes)


def study_of(folder: Path) -> Study:
    """Return the cells that a study's folder holds. Raises UserError if there are none."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give a study's, such as multirun/default")
    found = Study([], {})
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not re.fullmatch(KEY, entry.name):
            continue
        try:
            if entry.is_symlink():
                raise BrokenFileError("is not read: its folder is a symbolic link, and a study never leaves its folder")
            config = reader.config(folder / entry.name)
            if not _LEVELS.holds(config.get("levels")):
                raise BrokenFileError(f"is not a cell's config: levels is {shown(config.get('levels'))}")
        except FileNotFoundError:
            if os.path.lexists(folder / entry.name / STATUS):  # without it, there was nothing planned yet
                found.unread[entry.name] = "is missing"
        except BrokenFileError as error:
            if entry.is_symlink() or entry.is_dir():
                found.unread[entry.name] = str(error)
        else:
            found.cells.append(Cell(config, entry.name))
    if not found.keys:
        raise UserError(f"{folder} holds no cells; give a study's folder, such as multirun/default")
    return found


def _unread_submissions(study: Path) -> list[str]:
    """Return a line for each file of submissions that cannot be read: the tasks that it names are not known."""
    lines = [f"{path} {why}; its tasks are not known" for path, why in ledger.read(study).unread.items()]
    more = [f"and {len(lines) - _NAMED} more such files"] if len(lines) > _NAMED else []
    return [*lines[:_NAMED], *more]


def _as_table(folder: Path, study: Study, standings: Mapping[str, Standing], notes: Sequence[str]) -> None:
    console = page(WIDE)
    names, levels = _varying(study.cells), {cell.key: cell.config["levels"] for cell in study.cells}
    with_tasks = any(one.task for one in standings.values())
    rows = []
    for key in sorted(study.keys, key=names.place):
        one = standings[key]
        level = f"{max(0, one.level)} / {levels[key]}" if key in levels else ""
        rows.append(Row(key, (one.status, level, *([one.task or ""] if with_tasks else []), key), _why(one)))
    columns = [column for column in _COLUMNS if with_tasks or column[0] != "task"]
    console.print(CellTable(names, columns, rows, ("level", "task")), soft_wrap=False)
    counts = Counter(one.status for one in standings.values())
    ended = ", ".join(f"{count} {status}" for status, count in counts.items())
    lines = [f"{folder}: {count_cells(len(standings))}, {ended}"]
    if counts[FAILED]:
        tasks = f", and of tasks {ledger.folder(folder)}/<task>_0_log.err" if with_tasks else ""
        lines.append(f"logs {folder}/<key>/cell.log{tasks}")
    console.print(plain("\n".join(shown(line, _REASON) for line in (*lines, *notes))), soft_wrap=False)


def _as_json(folder: Path, study: Study, standings: Mapping[str, Standing], notes: Sequence[str]) -> None:
    names, levels = _varying(study.cells), {cell.key: cell.config["levels"] for cell in study.cells}
    rows = [
        {
            "key": key,
            "cell": names.label(key) if key in names.values else "",
            "status": one.status,
            "level": one.level,
            "levels": levels.get(key),
            "error": one.error,
            "task": one.task,
            "slurm": one.state and one.state.state,
        }
        for key in sorted(study.keys, key=names.place)
        for one in [standings[key]]
    ]
    print(json.dumps({"study": str(folder), "note": "; ".join(notes), "cells": rows}, indent=1, allow_nan=False))


def _varying(cells: Sequence[Cell]) -> Varying:
    names = {name for cell in cells for name in flatten(cell.config)}
    return varying(cells) if len(names) <= _MOST_NAMES else Varying([], {})


def _why(one: Standing) -> str:
    """Return the reason why a cell failed, waits or cannot be read, on one line; an empty text for other cells."""
    if one.status in (FAILED, UNREADABLE):
        return shown(last_line(one.error), _REASON)
    if one.status == PENDING and one.state and one.state.reason not in ("", "None"):
        return shown(one.state.reason, _REASON)
    return ""
