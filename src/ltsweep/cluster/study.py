"""A whole study on Slurm: planned, submitted, followed; its failed cells submitted again."""

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ltsweep.cluster import ledger, slurm
from ltsweep.cluster.follow import ClusterDisplay, cancel, follow, plan_totals
from ltsweep.cluster.options import Options, options_from
from ltsweep.cluster.submit import (
    Pack,
    array_sizes,
    check_options,
    count_cells,
    make_packs,
    script,
    settings_for,
    submit,
)
from ltsweep.cluster.watch import Watch
from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.run.build import check_configs, check_outputs, load_data
from ltsweep.run.resume import Statuses
from ltsweep.run.settings import Settings
from ltsweep.schema import FAILED
from ltsweep.show.streams import rest_in
from ltsweep.show.table import closing_table
from ltsweep.store.folder import NOT_BEGUN, statuses_of, unfinished
from ltsweep.store.hold import hold
from ltsweep.store.records import forget

# Keys that a message names.
_NAMED = 3


def launch(cells: Sequence[Cell], settings: Settings, options: Options, force: bool) -> int:
    """Submit the unfinished cells and, with wait=true, follow them to their end; return the command's exit code.

    The code is 0, or 1 if a cell failed, or 130 if the command was interrupted. force: forget what was computed, so
    that every cell is unfinished. Raises UserError before anything is submitted.
    """
    study = settings.study
    for_tasks = settings_for(settings, options)
    check_configs(cells)
    if options.dry_run:
        packs, _ = _plan(cells, study, for_tasks, options, force)
        for size in dict.fromkeys(array_sizes(len(packs))):
            print(f"\n{script(study, options, size)}")
        return 0
    # Compute nodes often cannot reach the internet, so what is missing is fetched here.
    todo = unfinished(cells, _statuses(cells, study, force))
    check_outputs(todo)
    load_data(todo, Path(for_tasks["data_dir"]))
    with hold(study):
        rest_in(study)
        packs, todo = _plan(cells, study, for_tasks, options, force)
        if force:
            forget(study, cells)
        submit(packs, study, for_tasks, options)
        if not options.wait:
            print(f"left to Slurm; to see how it stands: python -m ltsweep.status {study}")
            return 0
        return _follow(cells, todo, study, options)


def _plan(
    cells: Sequence[Cell], study: Path, settings: Mapping[str, Any], options: Options, force: bool
) -> tuple[list[Pack], list[Cell]]:
    """Print the plan; return the packs to submit, and the cells that are not finished."""
    standings = Watch(study, mark=not options.dry_run).settle([cell.key for cell in cells])
    queued = [key for key, one in standings.items() if one.queued]
    if queued and force:
        raise UserError(
            f"force=true, but {len(queued)} cells of {study} are in Slurm's queue; "
            f"wait, or: python -m ltsweep.status {study} --cancel"
        )
    statuses = _statuses(cells, study, force)
    packs = make_packs([cell for cell in cells if cell.key not in queued], study, statuses, settings, options)
    counts = count_cells(packs)
    todo = unfinished(cells, statuses)
    finished = len(cells) - len(todo)
    parts = [
        f"{len(cells)} cell{'s' * (len(cells) != 1)}",
        f"{finished} already finished" if finished else "",
        f"{len(queued)} in the queue already" if queued else "",
        f"{sum(counts)} in {len(packs)} task{'s' * (len(packs) != 1)} of up to {max(counts)}"
        if packs
        else "nothing to submit",
    ]
    print(f"{study}: {', '.join(part for part in parts if part)}", flush=True)
    return packs, todo


def _follow(cells: Sequence[Cell], todo: Sequence[Cell], study: Path, options: Options) -> int:
    """Show the unfinished cells until they have ended, or the user leaves; return the command's exit code."""
    watch, keys = Watch(study), [cell.key for cell in todo]
    display = ClusterDisplay()
    interrupted = False
    try:
        try:
            display.announce(study, cells, plan_totals(todo, study))
            follow(watch, keys, display, options.poll_seconds)
        finally:
            display.close()
    except KeyboardInterrupt:
        interrupted = True
        if not _wants_cancel():
            print(f"\nleft to Slurm, which goes on; to see how it stands: python -m ltsweep.status {study}")
            return 130
        cancel(watch, keys)
    statuses = statuses_of(cells, study)
    closing_table(cells, statuses, study)
    failed = any(status["status"] == FAILED for status in statuses.values())
    return 130 if interrupted else int(failed)


def _wants_cancel() -> bool:
    """Ask whether to leave the tasks or to cancel them; without a terminal, or an answer, they are left."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    try:
        return input("\nThe tasks go on without this command. Leave them (l), or cancel them (c)? [l] ").strip() == "c"
    except (KeyboardInterrupt, EOFError):
        return False


def _statuses(cells: Sequence[Cell], study: Path, force: bool) -> Statuses:
    return {cell.key: NOT_BEGUN for cell in cells} if force else statuses_of(cells, study)


def resubmit(study: Path, failed: Sequence[Cell], cells: Sequence[Cell]) -> None:
    """Submit failed cells again, with the options of their last job array. `cells`: all cells of the study.

    Raises UserError if one of them was never submitted to Slurm.
    """
    by_key = {cell.key: cell for cell in cells}
    slurm.check_commands()
    with hold(study):
        holders = ledger.holders(study)
        strangers = [cell.key for cell in failed if cell.key not in holders]
        if strangers:
            raise UserError(
                f"{len(strangers)} failed cells ({', '.join(strangers[:_NAMED])}) were not submitted to Slurm; "
                "the command that computed them tries them again"
            )
        arrays: dict[str, tuple[ledger.Submission, set[str]]] = {}
        for cell in failed:
            task, submission = holders[cell.key]
            # With the other cells of the task, since a failed cell goes on only in the stack it was in.
            arrays.setdefault(submission.submitted, (submission, set()))[1].update(submission.tasks[task])
        for submission, keys in arrays.values():
            options = options_from(submission.options)
            check_options(options, study)
            standings = Watch(study).look(keys)
            free = [by_key[key] for key in sorted(keys) if key in by_key and not standings[key].queued]
            busy = keys - {cell.key for cell in free}
            _print_busy({str(standings[cell.key].task) for cell in failed if cell.key in busy})
            packs = make_packs(free, study, statuses_of(free, study), submission.settings, options)
            tasks = submit(packs, study, submission.settings, options)
            print(f"{sum(count_cells(packs))} cells submitted again as {len(tasks)} tasks", file=sys.stderr)


def _print_busy(tasks: Collection[str]) -> None:
    """Print which tasks still run, if any, and so keep failed cells from being submitted."""
    if tasks:
        running = ", ".join(sorted(tasks))
        print(f"task {running} still runs; its failed cells can be submitted when it ends", file=sys.stderr)
