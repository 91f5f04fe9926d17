"""Measurements of finished cells, taken later from what is on the disk: initial weights, masks and kept weights."""

import dataclasses
import json
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ltsweep.engine.look import Look
from ltsweep.engine.problem import Problem
from ltsweep.engine.stack import Network, Tensors
from ltsweep.errors import CannotWriteError
from ltsweep.grid.cell import Cell
from ltsweep.lottery.loop import begin, unpruned
from ltsweep.lottery.program import Member, Program
from ltsweep.measure.reading import Measurement, Moment, moments_of, reading_rows, readings
from ltsweep.run.build import data_key, lengths, make_measurements, member_of, program_of
from ltsweep.run.extent import Statuses, described, lacks
from ltsweep.run.hardware import set_precision
from ltsweep.schema import DIVERGED, TICKET_ARM, is_weights_file, weights_file
from ltsweep.show.events import DiskFull, Note
from ltsweep.show.streams import rest_in
from ltsweep.store.folder import last_mask
from ltsweep.store.records import CellRecords
from ltsweep.store.tables import Row

Status = Mapping[str, Any]


@dataclass(frozen=True)
class Later:
    """Finished cells that trained as one stack, and what is to be measured of them.

    measure: name -> the config of a measurement that some of them lack. lacking: their keys; the others are measured
    along, since other stack sizes give other rounding, and nothing of them is written.
    """

    cells: tuple[Cell, ...]
    study: Path
    measure: Mapping[str, Any]
    lacking: frozenset[str]


def lacking(status: Status, names: Iterable[str]) -> list[str]:
    """Return those of the measurements that the records of a cell lack, of at least one level."""
    found = status.get("measured")
    there = found if isinstance(found, list) else []
    return [name for name in names if status["level"] >= 0 and name not in there]


def can_measure(cell: Cell, status: Status, measurement: Measurement, problem: Problem | None = None) -> bool:
    """Return whether a cell is done, and its files are all that a measurement looks at.

    What it looks at before the first step of a level can be made again. The weights after the last one are on the disk
    where the method kept them, and those at evaluations nowhere. Without its data set, which tells how long a level is,
    True means perhaps.
    """
    moments = moments_of(measurement)
    if lacks(cell, status) is not None or status["status"] == DIVERGED or not status.get("files"):
        return False
    if "evaluation" in moments:
        return False
    if "end" not in moments:
        return True
    alone = list(status["arms"]) == [TICKET_ARM]  # of controls no weights are kept
    fixed = not cell.config.get("stop") and last_mask(status) > status["level"]  # no masks learned
    if not alone or not fixed:
        return False
    if problem is None:
        return any(map(is_weights_file, status["files"]))
    last, _ = lengths(cell.config, problem)
    return all(weights_file(level, last) in status["files"] for level in range(status["level"] + 1))


def jobs_of(
    cells: Sequence[Cell],
    statuses: Statuses,
    measure: Mapping[str, Any],
    study: Path,
    recorded: Callable[[Cell], Mapping[str, Any] | None],
    data: Mapping[str, Problem],
) -> list[Later]:
    """Return what can be measured of the cells that lack it, stack by stack.

    recorded: returns the config on record, which tells how far a cell went.
    """
    measurements = make_measurements(measure)
    stacks: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        status = statuses[cell.key]
        if any(can_measure(cell, status, one) for one in measurements.values()):
            alike = (cell.stack_key, status.get("stack"), json.dumps(status["arms"], sort_keys=True))
            stacks.setdefault(alike, []).append(described(cell, recorded(cell), status))
    jobs = []
    for stack in stacks.values():
        lacked = {cell.key: lacking(statuses[cell.key], measure) for cell in stack}
        chosen = {
            name: measure[name]
            for name in dict.fromkeys(name for names in lacked.values() for name in names)
            if all(
                can_measure(cell, statuses[cell.key], measurements[name])
                and can_measure(cell, statuses[cell.key], measurements[name], data[data_key(cell)])
                for cell in stack
            )
        }
        if chosen:
            late = frozenset(key for key, names in lacked.items() if {*names} & {*chosen})
            jobs.append(Later(tuple(stack), study, chosen, late))
    return jobs


def measure_later(job: Later, data: Mapping[str, Problem], device: str) -> Iterator[Note | DiskFull]:
    """Take the measurements of finished cells and add their readings to the records.

    The numbers are those that they would have given at once, to the bit where the whole stack is measured. A cell of
    which a file cannot be read stays as it is, and a note says so.
    """
    rest_in(job.study)
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    try:
        yield from _measure(job, data, device)
    except CannotWriteError as error:
        yield DiskFull(str(error))
    except Exception as error:
        for cell in job.cells:
            CellRecords(job.study, cell.key).log(traceback.format_exc())
        names = ", ".join(job.measure)
        yield Note(
            f"measure={names}: {' '.join(f'{type(error).__name__}: {error}'.split())[:200]}; see the cells' logs"
        )


def _measure(job: Later, data: Mapping[str, Problem], device: str) -> Iterator[Note]:
    first, root = job.cells[0], job.study.absolute().parent
    set_precision(first.config["precision"])
    records = {cell.key: CellRecords(job.study, cell.key) for cell in job.cells}
    initial = {key: record.resume() for key, record in records.items()}
    problem, measurements = data[data_key(first)], make_measurements(job.measure)
    program = program_of(first, problem, torch.device(device), 0.0, measurements, root=root)
    members = []
    for cell in job.cells:
        if (weights := initial[cell.key]) is None:
            yield Note(f"cell {cell.key} could not be measured: its log says which file could not be read")
            continue
        record = records[cell.key]
        members.append(member_of(cell, program, weights, record.masks, record.weights, root=root))
    members.sort(key=lambda member: member.group)  # as they were trained
    rows: dict[str, list[Row]] = {member.key: [] for member in members}
    levels = min((records[member.key].status()["level"] for member in members), default=-1)
    for level in range(levels + 1):
        for key, found in _level(program, members, level):
            rows[key] += found
    for key, found in ((key, found) for key, found in rows.items() if key in job.lacking):
        records[key].add_readings(found, list(job.measure))
        records[key].log(f"measured from what is on the disk: {', '.join(job.measure)}")


def _level(program: Program, members: Sequence[Member], level: int) -> Iterator[tuple[str, list[Row]]]:
    """Yield (key, rows) for each cell and moment of a level."""
    arms = program.arms(level)
    if not arms:
        return
    masks = {member.key: member.recorded(level) or unpruned(program, member) for member in members}
    network = Network(program.model, program.precision)

    def kept(member: Member, level: int, step: int) -> Tensors:
        return member.kept(level, step)

    look = begin(program, network, members, level, arms, masks, kept)

    def taken(moment: Moment, look: Look) -> Iterator[tuple[str, list[Row]]]:
        found = list(readings(program.measurements, moment, look))
        for c, member in enumerate(members):
            yield member.key, reading_rows(found, look, arms, c)

    yield from taken("start", look)
    if any("end" in moments_of(one) for one in program.measurements.values()):
        ends = [member.kept(level, program.steps) for member in members]
        yield from taken("end", dataclasses.replace(look.at(ends, look.state.masks), iteration=program.steps))
