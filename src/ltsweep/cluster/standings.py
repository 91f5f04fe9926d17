"""Where every cell of a study stands, on the terminal: what `python -m ltsweep.status` shows."""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from ltsweep.cluster import ledger, slurm
from ltsweep.cluster.follow import cancel
from ltsweep.cluster.watch import Standing, Watch
from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.schema import CONFIG, FAILED, KEY, PENDING
from ltsweep.show.labels import count_cells, labels, last_line
from ltsweep.show.page import Column, page, plain, table
from ltsweep.words import printable

# Columns of a page that is not a terminal: one line a cell, for grep and the like.
_WIDE = 1_000

_COLUMNS: list[Column] = [*((name, "left") for name in ("cell", "status", "level", "task", "key")), ("", "fold")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0, or 2 for a mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m ltsweep.status",
        description="Show how every cell of a study stands, and why a failed one failed.",
    )
    parser.add_argument("study", type=Path, help="the study's folder, multirun/<study>")
    parser.add_argument("--cancel", action="store_true", help="cancel its tasks in Slurm's queue, running ones too")
    parser.add_argument(
        "--resubmit-failed", action="store_true", help="submit the failed cells again, with the settings they had"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the table")
    given = parser.parse_args(arguments)
    try:
        cells = cells_of(given.study)
        watch, keys = Watch(given.study), [cell.key for cell in cells]
        standings = watch.settle(keys)
        if given.cancel:
            slurm.check_commands()
            standings = cancel(watch, keys)
        if given.resubmit_failed:
            from ltsweep.cluster.study import resubmit  # loads torch, which a look does without

            resubmit(given.study, [cell for cell in cells if standings[cell.key].status == FAILED], cells)
            standings = watch.look(keys)
        show = _as_json if given.json else _as_table
        show(given.study, cells, standings, watch.unreachable)
    except (UserError, OSError) as error:
        print(f"ltsweep: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        sys.exit(2)


def cells_of(study: Path) -> list[Cell]:
    """Return the cells that a study's folder holds. Raises UserError if there are none."""
    if not study.is_dir():
        raise UserError(f"{study} is not a folder; give a study's, such as multirun/default")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built
    found = []
    for path in sorted(study.glob(f"*/{CONFIG}")):
        if not re.fullmatch(KEY, path.parent.name):
            continue
        try:
            config = yaml.load(path.read_text(), loader)
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        found.append(Cell(config, path.parent.name))
    if not found:
        raise UserError(f"{study} holds no cells; give a study's folder, such as multirun/default")
    return found


def _as_table(study: Path, cells: Sequence[Cell], standings: Mapping[str, Standing], note: str) -> None:
    console = page(_WIDE)
    names = labels(cells)
    rows = []
    for cell in cells:
        one = standings[cell.key]
        level = f"{max(0, one.level)} / {cell.config['levels']}"
        rows.append((names[cell.key], one.status, level, one.task or "", cell.key, _why(one)))
    console.print(table(_COLUMNS, rows))
    counts = Counter(one.status for one in standings.values())
    ended = ", ".join(f"{count} {status}" for status, count in counts.items())
    lines = [f"{study}: {count_cells(len(cells))}, {ended}"]
    if counts[FAILED]:
        lines.append(f"logs  {study}/<key>/cell.log, and of tasks {ledger.folder(study)}/<task>_0_log.err")
    console.print(plain("\n".join([*lines, note] if note else lines)))


def _as_json(study: Path, cells: Sequence[Cell], standings: Mapping[str, Standing], note: str) -> None:
    names = labels(cells)
    rows = [
        {
            "key": cell.key,
            "cell": names[cell.key],
            "status": one.status,
            "level": one.level,
            "levels": cell.config["levels"],
            "error": one.error,
            "task": one.task,
            "slurm": one.state and one.state.state,
        }
        for cell in cells
        for one in [standings[cell.key]]
    ]
    print(json.dumps({"study": str(study), "note": note, "cells": rows}, indent=1))


def _why(one: Standing) -> str:
    """Return the reason why a cell failed or waits, on one line; an empty text for other cells."""
    if one.status == FAILED:
        return last_line(one.error)
    if one.status == PENDING and one.state and one.state.reason not in ("", "None"):
        return one.state.reason
    return ""
