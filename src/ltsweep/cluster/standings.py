"""Where every cell of a study stands, on the terminal: what `python -m ltsweep.status` shows.

A study may come from a stranger: whatever its files hold, each cell has its row, and every row is one printable line.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from ltsweep.cluster import ledger, slurm
from ltsweep.cluster.follow import cancel
from ltsweep.cluster.watch import Standing, Watch
from ltsweep.errors import CannotWriteError, UserError, loading
from ltsweep.schema import CONFIG, FAILED, PENDING
from ltsweep.show.cells import CellTable, Row
from ltsweep.show.labels import count_cells, known_varying, last_line
from ltsweep.show.page import WIDE, Column, page, plain
from ltsweep.store.contents import UNREADABLE, Study, study_of
from ltsweep.store.provenance import maker, makers
from ltsweep.words import printable, shown

# Characters of a reason and of a note.
_REASON = 600
# Files that the notes name, each in a line, and versions in one line.
_NAMED = 4

_COLUMNS: list[Column] = [(name, "left") for name in ("status", "level", "task", "key")]


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
        with loading():  # torch, which a look does without
            from ltsweep.cluster.resubmit import given_settings, resubmit

        settings, options = given_settings(given.overrides, given.config_dir, given.study)
        failed = [cell for cell in study.cells if standings[cell.key].status == FAILED]
        resubmit(failed, study.cells, settings, options, given.allow)
        standings = watch.look(keys)
    notes += _unread_submissions(given.study)
    if watch.unreachable:
        notes.append(watch.unreachable)
    for key, why in study.unread.items():
        one = standings[key]
        standings[key] = replace(one, status=UNREADABLE, error=f"{CONFIG} {why}")
    show = _as_json if given.json else _as_table
    show(given.study, study, standings, notes)


def _unread_submissions(study: Path) -> list[str]:
    """Return a line for each file of submissions that cannot be read: the tasks that it names are not known."""
    lines = [f"{path} {why}; its tasks are not known" for path, why in ledger.read(study).unread.items()]
    more = [f"and {len(lines) - _NAMED} more such files"] if len(lines) > _NAMED else []
    return [*lines[:_NAMED], *more]


def _as_table(folder: Path, study: Study, standings: Mapping[str, Standing], notes: Sequence[str]) -> None:
    console = page(WIDE)
    names, levels = known_varying(study.cells), {cell.key: cell.config["levels"] for cell in study.cells}
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
    lines = [f"{folder}: {count_cells(len(standings))}, {ended}", *_makers(standings.values())]
    if counts[FAILED]:
        tasks = f", and of tasks {ledger.folder(folder)}/<task>_0_log.err" if with_tasks else ""
        lines.append(f"logs {folder}/<key>/cell.log{tasks}")
    console.print(plain("\n".join(shown(line, _REASON) for line in (*lines, *notes))), soft_wrap=False)


def _as_json(folder: Path, study: Study, standings: Mapping[str, Standing], notes: Sequence[str]) -> None:
    names, levels = known_varying(study.cells), {cell.key: cell.config["levels"] for cell in study.cells}
    rows = [
        {
            "key": key,
            "cell": names.label(key) if key in names.values else "",
            "status": one.status,
            "level": one.level,
            "levels": levels.get(key),
            "error": one.error,
            "made_by": maker(one.versions),
            "task": one.task,
            "slurm": one.state and one.state.state,
        }
        for key in sorted(study.keys, key=names.place)
        for one in [standings[key]]
    ]
    print(json.dumps({"study": str(folder), "note": "; ".join(notes), "cells": rows}, indent=1, allow_nan=False))


def _makers(standings: Iterable[Standing]) -> list[str]:
    """Return a line on which versions made the cells, where there are several."""
    found = makers(one.versions for one in standings)
    if len(found) < 2:
        return []
    listed = "; ".join(f"{version}: {count_cells(count)}" for version, count in found[:_NAMED])
    return [f"made by ltsweep {listed}{'; ...' * (len(found) > _NAMED)}"]


def _why(one: Standing) -> str:
    """Return the reason why a cell failed, waits or cannot be read, on one line; an empty text for other cells."""
    if one.status in (FAILED, UNREADABLE):
        return shown(last_line(one.error), _REASON)
    if one.status == PENDING and one.state and one.state.reason not in ("", "None"):
        return shown(one.state.reason, _REASON)
    return ""
