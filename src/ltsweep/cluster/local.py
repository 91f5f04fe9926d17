"""A whole study on this machine, once no task of a cluster computes it."""

from collections.abc import Mapping
from typing import Any

from ltsweep.cluster.follow import take_over
from ltsweep.run.build import data_key
from ltsweep.run.prepare import Plan, brought_up_to_date
from ltsweep.run.reckon import reckon
from ltsweep.run.study import planned_stacks, run, spared_in
from ltsweep.show.page import page, plain
from ltsweep.show.reckoning import print_head, print_reckoning
from ltsweep.show.streams import rest_in
from ltsweep.show.table import LiveTable
from ltsweep.store.checkpoints import drop_leftovers
from ltsweep.store.contents import records_in
from ltsweep.store.folder import CellFolder
from ltsweep.store.hold import hold
from ltsweep.store.records import forget


def compute(plan: Plan, force: bool = False) -> dict[str, Mapping[str, Any]]:
    """Bring every cell of a plan to its end and return key -> the fields of its status.json.

    force: forget what was computed; the plan was made with `again`. Raises UserError, before any work, where another
    command computes the study; and CannotWriteError, at any time, when the disk takes no more.
    """
    study = plan.settings.study
    with hold(study):
        rest_in(study)
        if not force:  # which computes every cell, whatever has become of it
            plan = brought_up_to_date(plan)
        take_over(study, [cell.key for cell in plan.todo])
        drop_leftovers(study)
        if force:
            forget(study, plan.cells)
        statuses = run(plan, LiveTable(again=force))
        drop_leftovers(study)  # and their folder, now that it is empty
    return statuses


def look(plan: Plan, force: bool = False) -> None:
    """Print what `compute` would do. Nothing is written. Raises UserError where a folder is a link."""
    study = plan.settings.study
    for cell in plan.cells:
        CellFolder(study, cell.key).check_folders()
    stacks = planned_stacks(plan)
    found = reckon(plan.cells, plan.statuses, stacks, records_in(study), spared_in(plan))
    workers = min(plan.workers, len(stacks))
    print_head(study, len(plan.cells))
    where = f"on {workers} worker{'s' * (workers != 1)} ({plan.devices[0].type})"
    print_reckoning(found, where, workers, again=force)
    lacking = {cell.config["dataset"]["name"] for cell in plan.todo if data_key(cell) not in plan.data}
    if lacking:
        page().print(
            plain(f"  data    {', '.join(sorted(lacking))}: not in {plan.settings.data_dir} yet, and downloaded first")
        )
