"""One stack of cells on one device: read their records, train, and write their records."""

import dataclasses
import gc
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ltsweep.engine.problem import Problem
from ltsweep.engine.stack import Tensors
from ltsweep.errors import BrokenFileError, CannotWriteError
from ltsweep.grid.cell import Cell
from ltsweep.lottery.loop import run_levels
from ltsweep.lottery.program import Checkpoint, LevelDone, Member, Program, Progress, Tables
from ltsweep.method.axes import Method
from ltsweep.run.build import data_key, make_measurements, member_of, program_of
from ltsweep.run.hardware import hardware
from ltsweep.run.packing import divided
from ltsweep.run.resume import Stack, new_stack
from ltsweep.schema import DIVERGED, DONE, FAILED, FINISHED, RUNNING
from ltsweep.show.events import DiskFull, News, Note
from ltsweep.show.streams import rest_in
from ltsweep.store.checkpoints import checkpoint_path, drop_checkpoint, load_checkpoint, save_checkpoint
from ltsweep.store.disk import set_aside
from ltsweep.store.records import CellRecords


@dataclass(frozen=True)
class Job:
    """One stack, with all that a worker needs to run it."""

    stack: Stack
    study: Path
    checkpoint_every: float  # seconds
    measure: Mapping[str, Any]  # name -> the config of a measurement
    versions: Mapping[str, str]


def run_stack(job: Job, data: Mapping[str, Problem], device: str) -> Iterator[News | Note | DiskFull]:
    """Run one stack of cells on a device, write their records, and yield its events.

    After an error the stack is halved, and each half resumes from its last level. So one bad cell fails alone, and its
    log has the whole error; and a stack too large for the memory shrinks until it fits. A full disk is not a cell's
    error: DiskFull is then the last event, and nothing more is tried.
    """
    rest_in(job.study)
    if device.startswith("cuda"):
        torch.cuda.set_device(device)  # otherwise each worker takes memory of the first GPU too
    try:
        yield from _run_or_halve(job, data, device)
    except CannotWriteError as error:
        yield DiskFull(str(error))


def _run_or_halve(job: Job, data: Mapping[str, Problem], device: str) -> Iterator[News | Note]:
    try:
        yield from _run_together(job, data, device)
        return
    except CannotWriteError:
        raise
    except Exception as error:
        reason, trace = f"{type(error).__name__}: {error}", traceback.format_exc()
    stack = job.stack
    drop_checkpoint(job.study, stack.name)
    records = {cell.key: CellRecords(job.study, cell.key) for cell in stack.writers}
    left = [cell for cell in stack.writers if records[cell.key].status()["status"] not in FINISHED]
    if len(left) > 1 or (left and stack.ballast):
        parts = "its halves go on apart" if len(left) > 1 else "its unfinished cell goes on alone"
        note = f"a stack of {len(left) + len(stack.ballast)} failed ({' '.join(reason.split())[:200]}); {parts}"
        for cell in left:
            records[cell.key].log(note)
        yield Note(note)
        for cells in divided(left, min(2, len(left))):
            _free_memory(device)
            half = new_stack(cells, {"halved": stack.name})
            yield from _run_or_halve(dataclasses.replace(job, stack=half), data, device)
        return
    for cell in left:
        records[cell.key].fail(reason, trace)
        yield News(cell.key, FAILED)


def _free_memory(device: str) -> None:
    """Free the memory of earlier stacks, since the error may have been too little memory.

    Not inside an `except`: until that ends, the error keeps its frames, and so their tensors.
    """
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def set_precision(precision: str) -> None:
    """Let a GPU round products and convolutions of 32-bit floats to TF32 only for `tf32`, and sum in a fixed order.

    By default cuDNN rounds to TF32, and takes algorithms that sum in any order.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.deterministic = True


def _run_together(job: Job, data: Mapping[str, Problem], device: str) -> Iterator[News | Note]:
    stack, cells = job.stack, job.stack.cells
    set_precision(cells[0].config["precision"])
    records = {cell.key: CellRecords(job.study, cell.key) for cell in cells}
    measurements = make_measurements(job.measure)
    program = program_of(cells[0], data[data_key(cells[0])], torch.device(device), job.checkpoint_every, measurements)
    tickets: dict[str, Ticket] = {cell.key: _own_ticket(records[cell.key]) for cell in stack.writers}
    first = min(ticket.level for ticket in tickets.values())
    checkpoint = None
    try:
        checkpoint = _checkpoint(job)
    except BrokenFileError as error:
        path = checkpoint_path(job.study, stack.name)
        aside = set_aside(path, job.study)
        note = f"{path} {error}; it was set aside as {aside}, and level {first} is begun again"
        for cell in stack.writers:
            records[cell.key].log(note)
        yield Note(note)
    inside = checkpoint is not None and checkpoint.level == first
    made = {**stack.facts, "device": device, "versions": job.versions, "hardware": hardware(program.device)}
    members = []
    for cell in cells:
        record, own = records[cell.key], tickets.get(cell.key)
        member = _member(cell, program, record, own, first)
        members.append(member)
        if own is None:
            continue
        if not own.level:
            record.save_initial(member.initial)
        where = f"{'in' if inside and own.level == first else 'at'} level {own.level}"
        record.log(f"starts {where}, in a stack of {len(cells)} on {device}")
        record.set_status(RUNNING, level=own.level - 1, error=None, **made)
    begins = {key: ticket.level for key, ticket in tickets.items()}
    yield from _run_levels(job, program, members, records, begins, checkpoint)
    drop_checkpoint(job.study, stack.name)


@dataclass(frozen=True)
class Ticket:
    """The level at which a cell's records go on, and what the cell begins it with: nothing yet at level 0."""

    level: int
    initial: Tensors | None = None
    masks: Tensors | None = None


def _own_ticket(record: CellRecords) -> Ticket:
    """Return the ticket of a cell's next level, or of level 0 if that cannot be read."""
    level = record.status()["level"] + 1
    found = record.resume(level) if level else None
    return Ticket(level, *found) if found else Ticket(0)


def _member(cell: Cell, program: Program, record: CellRecords, own: Ticket | None, first: int) -> Member:
    """Return a cell's part of a stack that begins at level `first`. own: the ticket to go on from, None for ballast.

    Until then the cell trains along from its earlier ticket, so that it does as it did, or else from dense weights.
    """
    if own and own.level == first:
        return member_of(cell, program, own.initial, own.masks)
    earlier, later = record.ticket(first), {own.level: own.masks} if own and own.masks else {}
    initial, masks = earlier or (own.initial if own else None, None)
    return member_of(cell, program, initial, masks, later)


def _run_levels(
    job: Job,
    program: Program,
    members: Sequence[Member],
    records: Mapping[str, CellRecords],
    begins: Mapping[str, int],
    checkpoint: Checkpoint | None,
) -> Iterator[News]:
    """Run the levels until no cell of `begins` is left, key -> the level from which on it is written and told of."""
    left = set(begins)
    for event in run_levels(program, members, min(begins.values()), checkpoint):
        match event:
            case Checkpoint():
                rows = {key: table.evaluations for key, table in event.tables.items()}
                facts = {"level": event.level, "step": event.step, "seconds": event.seconds, "rows": rows}
                facts["readings"] = {key: table.readings for key, table in event.tables.items()}
                save_checkpoint(job.study, job.stack.name, facts, event.tensors)
            case Progress():
                done = steps_done(program.method, program.steps, event.level, event.steps_done)
                for key, row in event.tickets.items():
                    if key in left and event.level >= begins[key]:
                        remaining = row["weights_remaining"] / row["weights_total"]
                        yield News(key, RUNNING, event.level, done, row["test_accuracy"], remaining)
            case LevelDone(key, level) if key in left and level >= begins[key]:
                news = _save(event, program, records[key])
                yield news
                if news.status in FINISHED:
                    left.remove(key)
                if not left:
                    return


def _save(event: LevelDone, program: Program, record: CellRecords) -> News:
    """Write a cell's finished level and return the news of it."""
    status = DIVERGED if event.diverged else DONE if event.level == program.levels else RUNNING
    error = f"the training loss is not finite at level {event.level}" if event.diverged else None
    record.save_level(
        event.level,
        status,
        error,
        evaluations=event.evaluations,
        summaries=event.summaries,
        readings=event.readings,
        next_masks=event.next_masks,
        measured=list(program.measurements),
    )
    ticket = event.summaries[0]
    remaining, accuracy = ticket["weights_remaining"] / ticket["weights_total"], ticket["final_test_accuracy"]
    record.log(
        f"level {event.level:2d}  remaining {remaining:7.2%}  "
        f"train loss {ticket['final_train_loss']:.4f}  test accuracy {accuracy:.4f}"
    )
    done = steps_done(program.method, program.steps, event.level, program.steps)
    return News(event.key, status, event.level, done, accuracy, remaining)


def _checkpoint(job: Job) -> Checkpoint | None:
    """Return the stack's checkpoint inside a level, None without one. Raises BrokenFileError."""
    found = load_checkpoint(job.study, job.stack.name)
    if found is None:
        return None
    facts, tensors = found
    try:
        read = facts.get("readings", {})  # older checkpoints have none
        tables = {key: Tables(rows, read.get(key, [])) for key, rows in facts["rows"].items()}
        return Checkpoint(facts["level"], facts["step"], facts["seconds"], tables, tensors)
    except (KeyError, AttributeError) as error:
        raise BrokenFileError("is not a checkpoint that this version knows") from error


def steps_done(method: Method, steps: int, level: int, steps_done: int) -> int:
    """Return the optimizer steps of one cell's networks, summed over networks, after `steps_done` steps of `level`."""
    return sum(len(method.arms(n)) for n in range(level)) * steps + len(method.arms(level)) * steps_done
