"""One stack of cells on one device: read their records, train, and write their records."""

import dataclasses
import functools
import gc
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ltsweep.engine.problem import Problem
from ltsweep.engine.stack import Tensors
from ltsweep.errors import BrokenFileError, CannotWriteError
from ltsweep.grid.cell import Cell
from ltsweep.lottery.loop import run_levels
from ltsweep.lottery.program import Checkpoint, LevelDone, Member, Program, Progress, Tables
from ltsweep.lottery.rows import Row
from ltsweep.method.axes import Arm
from ltsweep.run.build import data_key, make_measurements, member_of, program_of
from ltsweep.run.dense import dense_key
from ltsweep.run.extent import done_by_all, lacks, unfinished
from ltsweep.run.hardware import hardware, set_precision
from ltsweep.run.packing import divided
from ltsweep.run.resume import Stack, new_stack
from ltsweep.run.together import led
from ltsweep.schema import DENSE_KEY, DENSE_OF, DIVERGED, DONE, FAILED, FINISHED, RUNNING, TICKET_ARM
from ltsweep.show.cells import score_text
from ltsweep.show.events import DiskFull, News, Note
from ltsweep.show.streams import rest_in
from ltsweep.store.checkpoints import checkpoint_path, drop_checkpoint, load_checkpoint, save_checkpoint
from ltsweep.store.disk import set_aside
from ltsweep.store.folder import NOT_BEGUN, last_mask
from ltsweep.store.records import CellRecords
from ltsweep.store.tables import arm_of


@dataclass(frozen=True)
class Job:
    """One stack, with all that a worker needs to run it.

    keep: key -> the steps of level 0 that a cell keeps for others. dense: key -> the cell of which it takes level 0.
    """

    stack: Stack
    study: Path
    checkpoint_every: float  # seconds
    measure: Mapping[str, Any]  # name -> the config of a measurement
    versions: Mapping[str, str]
    keep: Mapping[str, Sequence[int]] = field(default_factory=dict)
    dense: Mapping[str, str] = field(default_factory=dict)


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
    left = unfinished(stack.writers, {key: record.status() for key, record in records.items()})
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


def _run_together(job: Job, data: Mapping[str, Problem], device: str) -> Iterator[News | Note]:
    stack, cells = job.stack, job.stack.cells
    set_precision(cells[0].config["precision"])
    records = {cell.key: CellRecords(job.study, cell.key) for cell in cells}
    measurements = make_measurements(job.measure)
    # A cell whose records cannot be gone on from begins again, with nothing.
    initial = {cell.key: records[cell.key].resume() for cell in stack.writers}
    found = {key: records[key].status() if weights else NOT_BEGUN for key, weights in initial.items()}
    begins = {cell.key: lacks(cell, found[cell.key]) or 0 for cell in stack.writers}
    first, done = min(begins.values()), done_by_all(found.values())
    problem = data[data_key(cells[0])]
    keep = sorted({step for cell in cells for step in job.keep.get(cell.key, ())})
    root = job.study.absolute().parent
    program = program_of(cells[0], problem, torch.device(device), job.checkpoint_every, measurements, done, keep, root)
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
        record, key = records[cell.key], cell.key
        weights = initial[key] if key in begins else record.initial()
        dense = None if weights else _dense(job, key, program)
        recorded = _recorded(record) if weights else _nothing
        members.append(member_of(cell, program, weights, recorded, record.weights, dense, root))
        if key not in begins:
            continue
        if not weights:
            record.save_initial(members[-1].initial)
        where = f"{'in' if inside and begins[key] == first else 'at'} level {begins[key]}"
        record.log(f"starts {where}, in a stack of {len(cells)} on {device}")
        level, arms = found[key]["level"], found[key].get("arms", {})
        of_level_0 = dense_key(cell)
        shared = {DENSE_KEY: of_level_0} if of_level_0 and not arms else {}
        shared |= {DENSE_OF: job.dense[key]} if dense else {}
        record.set_status(RUNNING, level=level, arms=arms, error=None, **made, **shared)
    asked = {cell.key: cell for cell in stack.writers}
    with led(program, members, first, checkpoint):
        yield from _run_levels(job, program, members, records, begins, asked, checkpoint)
    drop_checkpoint(job.study, stack.name)


def _dense(job: Job, key: str, program: Program) -> Tables | None:
    """Return level 0 of the cell that has it on record for this one too; None without one, or if it cannot be read.

    No time is counted for it.
    """
    if key not in job.dense:
        return None
    leader = CellRecords(job.study, job.dense[key])
    if leader.resume() is None or not set(job.measure) <= set(leader.status().get("measured", [])):
        return None

    def level_0(rows: Sequence[Row]) -> list[Row]:
        own = [row for row in rows if row["level"] == 0 and arm_of(row) == TICKET_ARM]
        return [{**row, "seconds": 0.0} if "seconds" in row else row for row in own]

    steps = {*program.kept(0), program.steps}
    try:
        kept = {step: leader.weights(0, step) for step in steps}
    except BrokenFileError:
        return None
    return Tables(level_0(leader.evaluations), level_0(leader.readings), kept)


def _recorded(record: CellRecords) -> Callable[[int], Tensors | None]:
    """Return a function: level -> the masks that the records have of it as the run begins, or None."""
    return functools.partial(_up_to, record, last_mask(record.status()))


def _up_to(record: CellRecords, last: int, level: int) -> Tensors | None:
    return record.masks(level) if level <= last else None


def _nothing(level: int) -> None:
    """Return the masks of a cell without records."""


def _run_levels(
    job: Job,
    program: Program,
    members: Sequence[Member],
    records: Mapping[str, CellRecords],
    begins: Mapping[str, int],
    asked: Mapping[str, Cell],
    checkpoint: Checkpoint | None,
) -> Iterator[News | Note]:
    """Run the levels until no cell of `asked` is left.

    begins: key -> the level from which on a cell is written and told of. Of each layer that pruning empties the user
    is told once, with the first cell that has lost it; every cell's log has it.
    """
    left, told, headline = set(begins), set[str](), program.problem.headline.name
    for event in run_levels(program, members, min(begins.values()), checkpoint):
        match event:
            case Checkpoint():
                rows = {key: table.evaluations for key, table in event.tables.items()}
                arms = [str(arm) for arm in event.arms]
                facts = {"level": event.level, "arms": arms, "step": event.step, "seconds": event.seconds, "rows": rows}
                facts["readings"] = {key: table.readings for key, table in event.tables.items()}
                kept = {
                    f"kept/{key}/{step}/{name}": value
                    for key, table in event.tables.items()
                    for step, weights in table.kept.items()
                    for name, value in weights.items()
                }
                save_checkpoint(job.study, job.stack.name, facts, event.tensors | kept)
            case Progress():
                done = steps_done(program, event.level, event.steps_done)
                for key, row in event.rows.items():
                    if key in left and event.level >= begins[key]:
                        remaining = row["weights_remaining"] / row["weights_total"]
                        score = row[f"test_{headline}"] if arm_of(row) == TICKET_ARM else None
                        yield News(key, RUNNING, event.level, done, score, remaining, headline)
            case LevelDone(key, level) if key in left and level >= begins[key]:
                news = _save(event, program, records[key], asked[key])
                yield news
                if new := [name for name in _emptied(event) if name not in told]:
                    told |= {*new}
                    gone = f"no weights of {', '.join(new)} are left at level {level}"
                    yield Note(f"cell {key}: {gone}; the network is trained on")
                if news.status in FINISHED:
                    left.remove(key)
                if not left:
                    return


def _save(event: LevelDone, program: Program, record: CellRecords, cell: Cell) -> News:
    """Write a cell's finished level, but for arms that its records have already, and return the news of it."""
    there = record.status().get("arms", {})
    new = {str(arm): event.level for arm in program.arms(event.level) if there.get(str(arm), -1) < event.level}
    diverged = event.diverged and TICKET_ARM in new
    left = lacks(cell, {"status": RUNNING, "arms": there | new})
    status = DIVERGED if diverged else DONE if left is None else RUNNING
    error = f"the loss is not finite at level {event.level}" if diverged else None

    def own(rows: list[Row]) -> list[Row]:
        return [row for row in rows if arm_of(row) in new]

    record.save_level(
        new,
        status,
        error,
        evaluations=own(event.evaluations),
        summaries=own(event.summaries),
        readings=own(event.readings),
        next_masks=event.next_masks if TICKET_ARM in new else None,
        kept=event.kept if TICKET_ARM in new else None,
        learned=event.learned if TICKET_ARM in new else None,
        measured=list(program.measurements),
    )
    first, headline = event.summaries[0], program.problem.headline.name
    remaining, score = first["weights_remaining"] / first["weights_total"], first[f"final_test_{headline}"]
    loss = "test" if first["final_train_loss"] is None else "train"
    # Where both are the test loss, once.
    scores = f"{loss} loss {first[f'final_{loss}_loss']:.4f}", f"test {headline} {score_text(score)}"
    record.log(
        f"level {event.level:2d}  remaining {remaining:7.2%}  {'  '.join(dict.fromkeys(scores))}"
        + ("" if TICKET_ARM in new else f"  ({', '.join(new)})")
        + (f"  warning: no weights left of {', '.join(empty)}" if (empty := _emptied(event)) else "")
    )
    done = steps_done(program, event.level, program.steps)
    return News(event.key, status, event.level, done, score if TICKET_ARM in new else None, remaining, headline)


def _emptied(event: LevelDone) -> list[str]:
    """Return the layers of which a level has no weights."""
    counts = event.summaries[0]
    return [name for name, left in zip(counts["layers"], counts["layer_remaining"], strict=True) if not left]


def _checkpoint(job: Job) -> Checkpoint | None:
    """Return the stack's checkpoint inside a level, None without one. Raises BrokenFileError."""
    found = load_checkpoint(job.study, job.stack.name)
    if found is None:
        return None
    facts, tensors = found
    try:
        kept: dict[str, dict[int, Tensors]] = {key: {} for key in facts["rows"]}
        for name in [name for name in tensors if name.startswith("kept/")]:
            _, key, step, tensor = name.split("/", 3)
            kept[key].setdefault(int(step), {})[tensor] = tensors.pop(name)
        tables = {key: Tables(rows, facts["readings"][key], kept[key]) for key, rows in facts["rows"].items()}
        arms = tuple(Arm(name.rpartition("/")[0], int(name.rpartition("/")[2])) for name in facts["arms"])
        return Checkpoint(facts["level"], arms, facts["step"], facts["seconds"], tables, tensors)
    except (KeyError, AttributeError) as error:
        raise BrokenFileError("is not a checkpoint that this version knows") from error


def steps_done(program: Program, level: int, steps_done: int) -> int:
    """Return the optimizer steps of one cell's networks, summed over networks, after `steps_done` steps of `level`.

    Those of earlier commands count too, also at later levels.
    """
    total = 0
    for n in range(program.levels + 1):
        now, first = len(program.arms(n)), program.method.first(n, program.length)
        earlier = len(program.method.arms(n)) - now
        done = program.steps if n < level else steps_done if n == level else first
        total += earlier * (program.steps - first) + now * (done - first)
    return total
