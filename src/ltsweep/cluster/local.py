"""A whole study on this machine, once no task of a cluster computes it."""

from collections.abc import Mapping
from typing import Any

from ltsweep.cluster.follow import take_over
from ltsweep.run.prepare import Plan, brought_up_to_date
from ltsweep.run.study import run
from ltsweep.show.streams import rest_in
from ltsweep.show.table import LiveTable
from ltsweep.store.checkpoints import drop_leftovers
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
