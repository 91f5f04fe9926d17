"""One stack of cells, from their records to their records, on one device."""

import dataclasses
import gc
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ltsweep.data import Dataset
from ltsweep.errors import BrokenFileError, CannotWriteError
from ltsweep.grid.cell import Cell
from ltsweep.lottery.loop import Checkpoint, Member, Program, Progress, run_levels
from ltsweep.method.imp import IMP
from ltsweep.run.build import data_key, member_of, program_of
from ltsweep.run.hardware import hardware
from ltsweep.run.packing import stack_id
from ltsweep.schema import DIVERGED, DONE, FAILED, RUNNING
from ltsweep.show.events import DiskFull, Event, News, Note
from ltsweep.store.checkpoints import checkpoint_path, drop_checkpoint, load_checkpoint, save_checkpoint
from ltsweep.store.disk import set_aside
from ltsweep.store.folder import CellFolder, statuses_of, unfinished
from ltsweep.store.records import CellRecords


@dataclass(frozen=True)
class Job:
    """The cells of one stack. `stack` names its checkpoint, also after some cells have left it."""

    cells: tuple[Cell, ...]
    stack: str
    study: Path
    checkpoint_every: float
    versions: Mapping[str, str]


def run_stack(job: Job, data: Mapping[str, Dataset], device: str) -> Iterator[Event]:
    """Run one stack of cells on a device, writing their records and yielding what happens.

    An error is logged in full with its cell. It is first tried which cell it belongs to, or whether the memory suffices
    for fewer: the stack is halved and each half goes on from its last level, so that one bad cell fails alone. A disk
    that takes no more is no cell's error: that is yielded, as the last, and nothing more is tried.
    """
    if device.startswith("cuda"):
        torch.cuda.set_device(device)  # or the first GPU is made ready too, and gives memory to each worker
    try:
        yield from _run_or_halve(job, data, device)
    except CannotWriteError as error:
        yield DiskFull(str(error))


def _run_or_halve(job: Job, data: Mapping[str, Dataset], device: str) -> Iterator[Event]:
    try:
        yield from _run_together(job, data, device)
        return
    except CannotWriteError:
        raise
    except Exception as error:
        reason, trace = f"{type(error).__name__}: {error}", traceback.format_exc()
    drop_checkpoint(job.study, job.stack)
    left = unfinished(job.cells, statuses_of(job.cells, job.study))
    if len(left) > 1:
        note = f"a stack of {len(left)} failed ({' '.join(reason.split())[:200]}); its halves go on apart"
        for cell in left:
            CellFolder(job.study, cell.key).log(note)
        yield Note(note)
        half = len(left) // 2
        for cells in (tuple(left[:half]), tuple(left[half:])):
            _free_memory(device)
            yield from _run_or_halve(dataclasses.replace(job, cells=cells, stack=stack_id(cells)), data, device)
        return
    for cell in left:
        CellFolder(job.study, cell.key).fail(reason, trace)
        yield News(cell.key, FAILED)


def _free_memory(device: str) -> None:
    """Give back what the stacks before held, since memory may be what there was too little of.

    Not inside an `except`: until that ends, the error keeps the frames, and with them the tensors, it came from.
    """
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def _set_precision(precision: str) -> None:
    """Let products and convolutions of 32-bit floats on a GPU be rounded to TF32 only where that is asked for.

    Left alone, cuDNN does so by itself, and takes algorithms whose sums come in any order.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.deterministic = True


def _run_together(job: Job, data: Mapping[str, Dataset], device: str) -> Iterator[Event]:
    _set_precision(job.cells[0].config["precision"])
    records = {cell.key: CellRecords(job.study, cell.key) for cell in job.cells}
    shared = data[data_key(job.cells[0])]
    program = program_of(job.cells[0], shared, torch.device(device), job.checkpoint_every)
    first = min(record.status()["level"] for record in records.values()) + 1
    tickets = {key: record.resume(first) for key, record in records.items()} if first else {}
    if not all(tickets.values()):
        first, tickets = 0, {}
        records = {cell.key: CellRecords(job.study, cell.key) for cell in job.cells}  # without the rows just read
    checkpoint = None
    try:
        loaded = load_checkpoint(job.study, job.stack)
        checkpoint = Checkpoint(**loaded[0], tensors=loaded[1]) if loaded else None
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
        record.log(f"starts {where}, in a stack of {len(job.cells)} on {device}")
        made = {"stack": job.stack, "stack_cells": len(job.cells), "device": device, "versions": job.versions}
        made["hardware"] = hardware(program.device)
        record.set_status(RUNNING, level=first - 1, error=None, **made)
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
) -> Iterator[News]:
    for event in run_levels(program, members, first, checkpoint):
        if isinstance(event, Checkpoint):
            facts = {"level": event.level, "step": event.step, "seconds": event.seconds, "rows": event.rows}
            save_checkpoint(study, stack, facts, event.tensors)
            continue
        if isinstance(event, Progress):
            done = steps_done(program.method, program.steps, event.level, event.steps_done)
            for key, row in event.tickets.items():
                remaining = row["weights_remaining"] / row["weights_total"]
                yield News(key, RUNNING, event.level, done, row["test_accuracy"], remaining)
            continue
        record = records[event.key]
        status = DIVERGED if event.diverged else DONE if event.level == program.levels else RUNNING
        error = f"the training loss is not finite at level {event.level}" if event.diverged else None
        record.save_level(
            event.level,
            status,
            error,
            evaluations=event.evaluations,
            summaries=event.summaries,
            next_masks=event.next_masks,
        )
        ticket = event.summaries[0]
        remaining, accuracy = ticket["weights_remaining"] / ticket["weights_total"], ticket["final_test_accuracy"]
        record.log(
            f"level {event.level:2d}  remaining {remaining:7.2%}  "
            f"train loss {ticket['final_train_loss']:.4f}  test accuracy {accuracy:.4f}"
        )
        done = steps_done(program.method, program.steps, event.level, program.steps)
        yield News(event.key, status, event.level, done, accuracy, remaining)


def steps_done(method: IMP, steps: int, level: int, steps_done: int) -> int:
    """Return the steps that one cell's networks have taken in all, after `steps_done` steps of `level`."""
    return sum(len(method.arms(n)) for n in range(level)) * steps + len(method.arms(level)) * steps_done
