"""`python -m ltsweep.status multirun/<study>`: how every cell stands, at any time, from any machine."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from ltsweep.cluster import ledger, slurm
from ltsweep.cluster.watch import Standing, Watch, cancel
from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.show.display import labels
from ltsweep.store.hold import claim


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
            slurm.require()
            standings = cancel(watch, keys)
        if given.resubmit_failed:
            resubmit(given.study, [cell for cell in cells if standings[cell.key].status == "failed"], cells)
            standings = watch.look(keys)
        show = _as_json if given.json else _as_table
        show(given.study, cells, standings, watch.unreachable)
    except (UserError, OSError) as error:
        print(f"ltsweep: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def cells_of(study: Path) -> list[Cell]:
    """Return the cells that a study's folder holds. Raises UserError where there are none."""
    if not study.is_dir():
        raise UserError(f"{study} is no folder; give a study's, such as multirun/default")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built
    found = []
    for path in sorted(study.glob("[0-9a-f]*/config.yaml")):
        try:
            config = yaml.load(path.read_text(), loader)
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        found.append(Cell(config, path.parent.name))
    if not found:
        raise UserError(f"{study} holds no cells; give a study's folder, such as multirun/default")
    return found


def resubmit(study: Path, failed: Sequence[Cell], cells: Sequence[Cell]) -> None:
    """Submit failed cells again, each as its last job array was. Raises UserError for what Slurm never had."""
    from ltsweep.cluster.submit import check_options, make_packs, options_from, submit

    by_key = {cell.key: cell for cell in cells}
    slurm.require()
    with claim(study):
        holders = ledger.holders(study)
        strangers = [cell.key for cell in failed if cell.key not in holders]
        if strangers:
            raise UserError(
                f"{len(strangers)} failed cells ({', '.join(strangers[:3])}) were not submitted to Slurm; "
                "the command that computed them tries them again"
            )
        arrays: dict[str, tuple[ledger.Submission, set[str]]] = {}
        for cell in failed:
            task, submission = holders[cell.key]
            # With the task's other cells, since a failed one goes on only in the stack it was in.
            arrays.setdefault(submission.submitted, (submission, set()))[1].update(submission.tasks[task])
        for submission, keys in arrays.values():
            options = options_from(submission.options)
            check_options(options, study)
            standings = Watch(study).look(keys)
            free = [by_key[key] for key in sorted(keys) if key in by_key and not standings[key].queued]
            busy = sorted(
                {str(standings[cell.key].task) for cell in failed if cell.key in keys - {c.key for c in free}}
            )
            if busy:
                print(
                    f"task {', '.join(busy)} still runs; its failed cells can be submitted when it ends",
                    file=sys.stderr,
                )
            packs = make_packs(free, study, submission.settings, options)
            tasks = submit(packs, study, submission.settings, options)
            print(f"{sum(map(len, packs))} cells submitted again as {len(tasks)} tasks", file=sys.stderr)


def _as_table(study: Path, cells: Sequence[Cell], standings: Mapping[str, Standing], note: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=1_000)  # one line a cell, for grep and the like
    names = labels(cells)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("cell", "status", "level", "task", "key"):
        table.add_column(heading, header_style="dim", no_wrap=True)
    table.add_column("", overflow="fold")
    for cell in cells:
        one = standings[cell.key]
        level = f"{max(0, one.level)} / {cell.config['levels']}"
        table.add_row(names[cell.key], one.status, level, one.task or "", cell.key, _why(one))
    console.print(table)
    counts = Counter(one.status for one in standings.values())
    console.print(
        f"{study}: {len(cells)} cell{'s' * (len(cells) != 1)}, "
        + ", ".join(f"{count} {status}" for status, count in counts.items())
    )
    if counts["failed"]:
        console.print(f"logs  {study}/<key>/cell.log, and of tasks {ledger.folder(study)}/<task>_0_log.err")
    if note:
        console.print(note)


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
    """Return why a cell failed or waits, on one line."""
    if one.status == "failed":
        return (str(one.error or "").strip().splitlines() or [""])[-1]
    if one.status == "pending" and one.state and one.state.reason not in ("", "None"):
        return one.state.reason
    return ""


if __name__ == "__main__":
    main()
