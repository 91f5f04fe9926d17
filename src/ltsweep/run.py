"""Cells -> stacks -> levels -> records."""

import contextlib
import dataclasses
import gc
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from ltsweep.build import check_configs, data_key, lengths, load_data, make, member_of, program_of
from ltsweep.cell import Cell
from ltsweep.checkpoints import checkpoint_path, drop_checkpoint, drop_leftovers, load_checkpoint, save_checkpoint
from ltsweep.claim import claim
from ltsweep.data import Dataset
from ltsweep.disk import set_aside
from ltsweep.display import Display, Event, Note
from ltsweep.errors import BrokenFileError, CannotWriteError, UserError
from ltsweep.folder import FINISHED
from ltsweep.levels import Checkpoint, Member, Program, Progress, run_levels
from ltsweep.memory import free_for_stacks
from ltsweep.method import IMP
from ltsweep.packing import count, find_devices, largest_stack, pack, stack_id
from ltsweep.provenance import hardware, versions
from ltsweep.records import CellRecords
from ltsweep.watch import take_over
from ltsweep.workers import cores, run_jobs


@dataclass(frozen=True)
class Settings:
    """Where and how to compute; none of it decides a number."""

    study: Path
    data_dir: Path
    device: str = "auto"
    workers: int | str = "auto"
    stack_size: int | str = "auto"
    checkpoint_every: float = 10.0  # seconds
    force: bool = False
    claim: Sequence[Path] | None = None  # the folders to hold while running; the study's by default


def settings_from(config: DictConfig, study: Path, claim: Sequence[Path] | None = None) -> Settings:
    """Return the settings of a composed config, for results under `study`."""
    if not isinstance(config.force, bool):
        raise UserError(f"force={config.force} is out of range: force is true or false")
    seconds = config.checkpoint_every
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise UserError(f"checkpoint_every={seconds} is out of range: checkpoint_every is a number of seconds from 0")
    if not isinstance(config.data_dir, str) or not config.data_dir.strip():
        raise UserError(
            f"data_dir={config.data_dir} is no folder; set data_dir or LTSWEEP_DATA, or take dataset=digits"
        )
    names = ("device", "workers", "stack_size", "checkpoint_every", "force")
    return Settings(study, Path(config.data_dir), **{name: config[name] for name in names}, claim=claim)


@dataclass(frozen=True)
class Job:
    """The cells of one stack, on one device. `stack` names its checkpoint, also after some cells have left it."""

    cells: tuple[Cell, ...]
    stack: str
    study: Path
    device: str
    checkpoint_every: float
    provenance: Mapping[str, Any]


def run(cells: Sequence[Cell], settings: Settings) -> dict[str, dict[str, Any]]:
    """Bring every cell to its end and return key -> status. Finished cells are left as they are.

    Raises UserError, before any work, for whatever is wrong with the configs, the data or the study's folder; and
    CannotWriteError, at any time, when the disk takes no more.
    """
    cells = list({cell.key: cell for cell in cells}.values())
    devices = find_devices(settings.device)
    given = count(settings.stack_size, "stack_size", 0)
    workers = count(settings.workers, "workers", cores() if devices[0].type == "cpu" else len(devices))
    check_configs(cells)
    data = load_data(_unfinished(cells, settings), settings.data_dir)
    with contextlib.ExitStack() as held:
        held.enter_context(claim(*((settings.study,) if settings.claim is None else settings.claim)))
        if settings.claim is None:
            take_over(settings.study, [cell.key for cell in _unfinished(cells, settings)])
            drop_leftovers(settings.study)
        broken = _repaired(cells, settings)
        if broken:
            data = load_data(_unfinished(cells, settings), settings.data_dir)
        # Again, now that no other command can change it.
        free = free_for_stacks(devices[0], workers, data.values())
        stacks = stacks_of(cells, settings, lambda cell: given or largest_stack(cell, devices[0].type, free), workers)
        todo = [cell for stack in stacks for cell in stack]
        names = [_stack_name(settings, stack) for stack in stacks]
        for name, stack in zip(names, stacks, strict=True):
            for cell in stack:
                records = CellRecords(settings.study, cell.key)
                if settings.force:
                    records.forget()
                records.plan(cell, stack=name)
        provenance = {"versions": versions(), "hardware": hardware(devices[0])}
        jobs = [
            Job(stack, name, settings.study, str(devices[i % len(devices)]), settings.checkpoint_every, provenance)
            for i, (name, stack) in enumerate(zip(names, stacks, strict=True))
        ]
        totals = {cell.key: _network_steps(cell, data, settings) for cell in todo}
        with Display(cells, totals, settings.study, settings.force) as display:
            for line in broken:
                display.note(line)
            for job, event in run_jobs(jobs, run_stack, data, workers):
                if isinstance(event, CannotWriteError):
                    raise event
                for shown in [event] if event else _died(job):
                    display.show(shown)
        if settings.claim is None:
            drop_leftovers(settings.study)  # and the folder itself, now that it is empty
        return {cell.key: _status(settings.study, cell) for cell in cells}


def run_stack(job: Job, data: Mapping[str, Dataset]) -> Iterator[Event | Note | CannotWriteError]:
    """Run one stack of cells, writing their records and yielding what happens.

    An error is logged in full with its cell. It is first tried which cell it belongs to, or whether the memory suffices
    for fewer: the stack is halved and each half goes on from its last level, so that one bad cell fails alone. A disk
    that takes no more is no cell's error: that is yielded, as the last, and nothing more is tried.
    """
    try:
        yield from _run_or_halve(job, data)
    except CannotWriteError as error:
        yield error


def _run_or_halve(job: Job, data: Mapping[str, Dataset]) -> Iterator[Event | Note]:
    try:
        yield from _run_together(job, data)
        return
    except CannotWriteError:
        raise
    except Exception as error:
        reason, trace = f"{type(error).__name__}: {error}", traceback.format_exc()
    drop_checkpoint(job.study, job.stack)
    left = [cell for cell in job.cells if _status(job.study, cell)["status"] not in FINISHED]
    if len(left) > 1:
        note = f"a stack of {len(left)} failed ({' '.join(reason.split())[:200]}); its halves go on apart"
        for cell in left:
            CellRecords(job.study, cell.key).log(note)
        yield Note(note)
        half = len(left) // 2
        for cells in (tuple(left[:half]), tuple(left[half:])):
            _free_memory(job.device)
            yield from _run_or_halve(dataclasses.replace(job, cells=cells, stack=stack_id(cells)), data)
        return
    for cell in left:
        records = CellRecords(job.study, cell.key)
        records.log(trace)
        records.set_status("failed", error=reason)
        yield Event(cell.key, "failed")


def _free_memory(device: str) -> None:
    """Give back what the stacks before held, since memory may be what there was too little of.

    Not inside an `except`: until that ends, the error keeps the frames, and with them the tensors, it came from.
    """
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def stacks_of(
    cells: Sequence[Cell], settings: Settings, largest: Callable[[Cell], int], workers: int
) -> list[tuple[Cell, ...]]:
    """Return the stacks to run: those that earlier commands began, as they were, and new ones for the other cells.

    A stack that is gone on from must have the same networks as before, for its numbers to be the same to the bit. So a
    cell that ended at a level which its stack has not wholly left behind runs it again with the others.
    """
    todo = _unfinished(cells, settings)
    if settings.force:
        return pack(todo, largest, workers)
    statuses = {cell.key: _status(settings.study, cell) for cell in cells}
    levels: dict[str, int] = {}  # of each stack that was begun: the first level that some cell of it has not finished
    for cell in todo:
        stack, level = statuses[cell.key].get("stack"), statuses[cell.key]["level"] + 1
        if stack:
            levels[stack] = min(level, levels.get(stack, level))
    begun: dict[str, list[Cell]] = {stack: [] for stack in levels}
    for cell in cells:
        status = statuses[cell.key]
        level = status["level"] + (status["status"] not in FINISHED)  # the last one it runs, or the next one
        if status.get("stack") in begun and level >= levels[status["stack"]]:
            begun[status["stack"]].append(cell)
    # A stack that was only planned, and perhaps not wholly, is packed anew.
    begun = {stack: members for stack, members in begun.items() if levels[stack] or stack_id(members) == stack}
    new = [cell for cell in todo if statuses[cell.key].get("stack") not in begun]
    return [*map(tuple, begun.values()), *pack(new, largest, workers)]


def _stack_name(settings: Settings, cells: Sequence[Cell]) -> str:
    """Return the name that a stack was begun under, perhaps with cells that have ended since, or a new one."""
    statuses = [_status(settings.study, cell) for cell in cells]
    begun = not settings.force and min(status["level"] for status in statuses) >= 0
    return str(statuses[0]["stack"]) if begun and "stack" in statuses[0] else stack_id(cells)


def _run_together(job: Job, data: Mapping[str, Dataset]) -> Iterator[Event | Note]:
    records = {cell.key: CellRecords(job.study, cell.key) for cell in job.cells}
    shared = data[data_key(job.cells[0])]
    program = program_of(job.cells[0], shared, torch.device(job.device), job.checkpoint_every)
    first = min(record.status()["level"] for record in records.values()) + 1
    tickets = {key: record.resume(first) for key, record in records.items()} if first else {}
    if not all(tickets.values()):
        first, tickets = 0, {}
        records = {cell.key: CellRecords(job.study, cell.key) for cell in job.cells}  # without the rows just read
    checkpoint = None
    try:
        checkpoint = load_checkpoint(job.study, job.stack)
    except BrokenFileError as error:
        path = checkpoint_path(job.study, job.stack)
        aside = set_aside(path, job.study)
        note = f"{path} {error}; it was set aside as {aside}, and level {first} is begun again"
        for record in records.values():
            record.log(note)
        yield Note(note)
    members = []
    for cell in job.cells:
        member = member_of(cell, program, *(tickets.get(cell.key) or (None, None)))
        record = records[cell.key]
        if not first:
            record.save_initial(member.initial)
        inside = checkpoint is not None and checkpoint.level == first
        where = f"in level {first}" if inside else f"at level {first}"
        record.log(f"starts {where}, in a stack of {len(job.cells)} on {job.device}")
        made = {"stack": job.stack, "stack_cells": len(job.cells), "device": job.device, **job.provenance}
        record.set_status("running", level=first - 1, error=None, **made)
        members.append(member)
    yield from _run_levels(program, members, records, first, job.study, job.stack, checkpoint)
    drop_checkpoint(job.study, job.stack)


def _run_levels(
    program: Program,
    members: Sequence[Member],
    records: Mapping[str, CellRecords],
    first: int,
    study: Path,
    stack: str,
    checkpoint: Checkpoint | None,
) -> Iterator[Event]:
    for event in run_levels(program, members, first, checkpoint):
        if isinstance(event, Checkpoint):
            save_checkpoint(study, stack, event)
            continue
        if isinstance(event, Progress):
            done = _done(program.method, program.steps, event.level, event.steps_done)
            for key, row in event.tickets.items():
                remaining = row["weights_remaining"] / row["weights_total"]
                yield Event(key, "running", event.level, done, row["test_accuracy"], remaining)
            continue
        record = records[event.key]
        status = "diverged" if event.diverged else "done" if event.level == program.levels else "running"
        error = f"the training loss is not finite at level {event.level}" if event.diverged else None
        record.save_level(event, status, error)
        ticket = event.summaries[0]
        remaining, accuracy = ticket["weights_remaining"] / ticket["weights_total"], ticket["final_test_accuracy"]
        record.log(
            f"level {event.level:2d}  remaining {remaining:7.2%}  "
            f"train loss {ticket['final_train_loss']:.4f}  test accuracy {accuracy:.4f}"
        )
        done = _done(program.method, program.steps, event.level, program.steps)
        yield Event(event.key, status, event.level, done, accuracy, remaining)


def _done(method: IMP, steps: int, level: int, steps_done: int) -> int:
    """Return the steps that one cell's networks have taken in all, after `steps_done` steps of `level`."""
    return sum(len(method.arms(n)) for n in range(level)) * steps + len(method.arms(level)) * steps_done


def _network_steps(cell: Cell, data: Mapping[str, Dataset], settings: Settings) -> tuple[int, int]:
    """Return the steps of all of a cell's networks: in the whole cell, and those done by earlier commands."""
    steps, _ = lengths(cell.config, len(data[data_key(cell)].train_y) - cell.config["validation"])
    method, level = make(cell.config, "method"), _status(settings.study, cell)["level"]
    before = _done(method, steps, level, steps) if level >= 0 else 0
    return _done(method, steps, cell.config["levels"], steps), before


def _died(job: Job) -> Iterator[Event]:
    """Mark the unfinished cells of a job whose process died; the same command goes on at their last level."""
    for cell in job.cells:
        records = CellRecords(job.study, cell.key)
        if records.status()["status"] not in (*FINISHED, "failed"):
            reason = "the worker process was killed (out of memory, or by hand)"
            records.log(reason)
            records.set_status("failed", error=reason)
            yield Event(cell.key, "failed")


def _repaired(cells: Sequence[Cell], settings: Settings) -> list[str]:
    """Return a line on each file of the cells that was found broken; what cannot do without it is computed again.

    Raises UserError, before anything is changed, where a folder is a link.
    """
    folders = {cell.key: CellRecords(settings.study, cell.key) for cell in cells}
    for records in folders.values():
        records.need_folders()
    return [] if settings.force else [line for cell in cells for line in folders[cell.key].repair(cell)]


def _unfinished(cells: Sequence[Cell], settings: Settings) -> list[Cell]:
    return [cell for cell in cells if settings.force or _status(settings.study, cell)["status"] not in FINISHED]


def _status(study: Path, cell: Cell) -> dict[str, Any]:
    return CellRecords(study, cell.key).status()
