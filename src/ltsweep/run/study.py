"""The run of a plan: send stacks to workers and events to a watcher, and return how every cell ended."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ltsweep.engine.problem import Problem
from ltsweep.errors import CannotWriteError
from ltsweep.grid.cell import Cell
from ltsweep.method.axes import Length
from ltsweep.run.build import data_key, lengths
from ltsweep.run.dense import followers, leaders, spared
from ltsweep.run.extent import Statuses, as_asked, described, steps
from ltsweep.run.later import jobs_of, lacking, measure_later
from ltsweep.run.memory import free_for_stacks
from ltsweep.run.packing import largest_stack
from ltsweep.run.prepare import Plan, brought_up_to_date, other_code
from ltsweep.run.resume import Stack, stacks_of
from ltsweep.run.stack_run import Job, run_stack
from ltsweep.run.workers import run_jobs
from ltsweep.schema import DONE, FAILED, RUNNING
from ltsweep.show.events import Died, DiskFull, News, Note
from ltsweep.show.watcher import Watcher
from ltsweep.store.checkpoints import drop_checkpoint
from ltsweep.store.folder import CellFolder, mates_of
from ltsweep.store.provenance import versions
from ltsweep.store.records import drop_unnamed
from ltsweep.store.repair import repair
from ltsweep.store.sources import keep as keep_sources
from ltsweep.store.sources import sources


def run(plan: Plan, watcher: Watcher) -> dict[str, Mapping[str, Any]]:
    """Run every unfinished cell of the plan to its end. Return key -> the fields of status.json, for all cells.

    The caller holds the cells. Raises CannotWriteError when the disk takes no more, and UserError, before any work,
    where a folder is a link.
    """
    study = plan.settings.study
    folders = {cell.key: CellFolder(study, cell.key) for cell in plan.cells}
    for folder in folders.values():
        folder.check_folders()
    goes_on = {cell.key for cell in plan.todo}
    notes = [line for cell in plan.cells for line in repair(study, cell, cell.key in goes_on)]
    plan = brought_up_to_date(plan)
    watcher.announce(study, plan.cells, {cell.key: _network_steps(cell, plan) for cell in plan.todo})
    try:
        for line in notes + other_code(plan):
            watcher.note(line)
        plan = _measure(plan, watcher)
        first, keep = leaders(*_dense_in(plan))
        if first:
            for cell in plan.todo:  # seen as missing, should the command end before they begin
                folders[cell.key].plan(described(cell, folders[cell.key].config(), plan.statuses[cell.key]))
            _run_stacks(replace(plan, cells=tuple(first)), keep, lambda news: watcher.show(_goes_on(news)), watcher)
            plan = brought_up_to_date(plan)
        _run_stacks(plan, {}, watcher.show, watcher)
    finally:
        watcher.close()
    statuses = {cell.key: folders[cell.key].status() for cell in plan.todo}
    return {cell.key: as_asked(cell, statuses.get(cell.key, plan.statuses[cell.key])) for cell in plan.cells}


def _run_stacks(plan: Plan, keep: Mapping[str, Sequence[int]], show: Callable[[News], None], watcher: Watcher) -> None:
    """Run the unfinished cells of a plan in their stacks, with news to `show` and notes to the watcher.

    keep: key -> steps of level 0 whose weights a cell keeps for others. Cells that find their level 0 with another cell
    take it over.
    """
    study = plan.settings.study
    dense, stacks = taken_over(plan), planned_stacks(plan)
    for stack in stacks:
        if all(plan.statuses[cell.key].get("stack") != stack.name for cell in stack.writers):
            drop_checkpoint(study, stack.name)  # of a stack of these cells that no record tells of any more
    for cell, facts in ((cell, stack.facts) for stack in stacks for cell in stack.writers):
        folder, own = CellFolder(study, cell.key), sources(cell.config)
        folder.plan(
            described(cell, folder.config(), plan.statuses[cell.key]), **facts, **({"sources": own} if own else {})
        )
        keep_sources(study, cell.config)
    drop_unnamed(study, [plan.statuses[cell.key] for stack in stacks for cell in stack.writers])
    every, measure = plan.settings.checkpoint_every, plan.settings.measure
    jobs = [Job(stack, study, every, measure, versions(), keep, dense) for stack in stacks]
    places = [str(plan.devices[i % len(plan.devices)]) for i in range(min(plan.workers, len(jobs)))]
    for job, event in run_jobs(jobs, run_stack, plan.data, places):
        match event:
            case Note(text):
                watcher.note(text)
            case News():
                show(event)
            case DiskFull(text):
                raise CannotWriteError(text)
            case Died():
                for news in _failed(job):
                    show(news)


def _goes_on(news: News) -> News:
    """Return the news of a cell that has done what others wait for, and goes on later."""
    return replace(news, status=RUNNING) if news.status == DONE else news


def planned_stacks(plan: Plan) -> list[Stack]:
    """Return the stacks to run, of `stack_size` networks, or for auto as large as pays and fits."""
    kind = plan.devices[0].type
    free = free_for_stacks(plan.devices[0], math.ceil(plan.workers / len(plan.devices)), plan.data.values())

    def auto(cell: Cell) -> int:
        return largest_stack(cell, kind, free)

    statuses = {**mates_of(plan.todo, plan.statuses, plan.settings.study), **plan.statuses}
    return stacks_of(plan.cells, statuses, plan.stack_size, auto, plan.workers, taken_over(plan))


def taken_over(plan: Plan) -> dict[str, str]:
    """Return key -> the cell on record of which a cell takes level 0 over."""
    return followers(*_dense_in(plan))


def spared_in(plan: Plan) -> set[str]:
    """Return the keys of the cells that lack level 0 and will not train it, since another cell does or did."""
    return spared(*_dense_in(plan))


def _dense_in(plan: Plan) -> tuple[list[Cell], Statuses, Callable[[Cell], Length]]:
    """Return what decides who trains a level 0: the unfinished cells, all statuses, and the length of their levels."""
    there = [cell for cell in plan.todo if data_key(cell) in plan.data]  # a plan without downloads may lack some
    return (
        there,
        {**plan.others, **plan.statuses},
        lambda cell: Length(*lengths(cell.config, plan.data[data_key(cell)])),
    )


def _network_steps(cell: Cell, plan: Plan) -> tuple[int, int]:
    """Return the optimizer steps of a cell, summed over its networks: all of them, and those of earlier commands."""
    problem: Problem = plan.data[data_key(cell)]
    return steps(cell, plan.statuses[cell.key], Length(*lengths(cell.config, problem)))


def _failed(job: Job) -> Iterator[News]:
    """Mark the unfinished cells of a stack whose process died, and yield their news."""
    for cell in job.stack.writers:
        reason = "the worker process was killed (out of memory, or by hand)"
        if CellFolder(job.study, cell.key).fail(reason):
            yield News(cell.key, FAILED)


def _measure(plan: Plan, watcher: Watcher) -> Plan:
    """Take the chosen measurements that finished cells lack, and tell of those that cannot be taken any more."""
    study, chosen = plan.settings.study, plan.settings.measure
    if not chosen:
        return plan

    def recorded(cell: Cell) -> Mapping[str, Any] | None:
        return CellFolder(study, cell.key).config()

    jobs = jobs_of(plan.cells if plan.unmeasured else (), plan.statuses, chosen, study, recorded, plan.data)
    places = [str(plan.devices[i % len(plan.devices)]) for i in range(min(plan.workers, len(jobs)))]
    for job, event in run_jobs(jobs, measure_later, plan.data, places) if jobs else ():
        match event:
            case Note(text):
                watcher.note(text)
            case DiskFull(text):
                raise CannotWriteError(text)
            case Died():
                watcher.note(
                    f"the worker that measured {_cells(len(job.lacking))} was killed (out of memory, or by hand)"
                )
    before, plan = plan, brought_up_to_date(plan)
    for name in chosen:
        lacked = {key for key, status in before.statuses.items() if lacking(status, [name])}
        left = {key for key in lacked if lacking(plan.statuses[key], [name])}
        if lacked - left:
            watcher.note(f"measure={name}: {_cells(len(lacked - left))} measured from what is on the disk")
        if left:
            watcher.note(
                f"measure={name}: {_cells(len(left))} had finished levels without it, and the weights that it looks at "
                "were not kept; force=true computes them again"
            )
    return plan


def _cells(count: int) -> str:
    return f"{count:,} cell{'s' * (count != 1)}"
