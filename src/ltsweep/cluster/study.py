"""A whole study on Slurm: planned, submitted, followed."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ltsweep.cluster.follow import ClusterDisplay, cancel, follow, plan_totals
from ltsweep.cluster.options import Options
from ltsweep.cluster.submit import (
    Pack,
    array_sizes,
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
from ltsweep.run.extent import Statuses, as_asked, check_definitions, unfinished
from ltsweep.run.prepare import check_sources
from ltsweep.run.reckon import reckon
from ltsweep.run.settings import Settings
from ltsweep.run.workers import prepare_process
from ltsweep.schema import FINISHED
from ltsweep.show.reckoning import print_reckoning
from ltsweep.show.streams import rest_in
from ltsweep.show.table import closing_table
from ltsweep.store.contents import records_in
from ltsweep.store.folder import NOT_BEGUN, CellFolder, statuses_of
from ltsweep.store.hold import hold
from ltsweep.store.records import forget


def launch(cells: Sequence[Cell], settings: Settings, options: Options, force: bool) -> int:
    """Submit the unfinished cells and, with wait=true, follow them to their end; return the command's exit code.

    The code is 0, or 1 if a cell failed, or 130 if the command was interrupted. force: forget what was computed, so
    that every cell is unfinished. Raises UserError before anything is submitted.
    """
    prepare_process()
    study = settings.study
    for_tasks = settings_for(settings, options)
    check_configs(cells, study.absolute().parent)
    if options.dry_run:
        packs, _ = _plan(cells, study, for_tasks, options, force)
        stacks = [stack for pack in packs for stack in pack]
        found = reckon(cells, _statuses(cells, study, force), stacks, records_in(study))
        divided = ", which divide them by their memory" if for_tasks["stack_size"] == "auto" else ""
        print_reckoning(found, f"in {len(packs)} task{'s' * (len(packs) != 1)}{divided}", again=force)
        for size in dict.fromkeys(array_sizes(len(packs))):
            print(f"\n{script(study, options, size)}")
        return 0
    # Compute nodes often cannot reach the internet, so what is missing is fetched here.
    statuses = _statuses(cells, study, force)
    for cell in cells:
        check_definitions(cell, statuses[cell.key], CellFolder(study, cell.key).config)
    todo = unfinished(cells, statuses)
    check_sources(todo, statuses)
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
        _, left = cancel(watch, keys)
        for task, why in left.items():
            print(f"task {task} was not cancelled: {why}", file=sys.stderr)
    found = statuses_of(cells, study)
    statuses = {cell.key: as_asked(cell, found[cell.key]) for cell in cells}
    closing_table(cells, statuses, study)
    lacking = any(status["status"] not in FINISHED for status in statuses.values())
    return 130 if interrupted else int(lacking)


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
