"""Cells -> stacks -> jobs, and what becomes of them."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ltsweep.cluster.follow import take_over
from ltsweep.data import Dataset
from ltsweep.errors import CannotWriteError, UserError
from ltsweep.grid.cell import Cell
from ltsweep.run.build import check_configs, data_key, lengths, load_data, make
from ltsweep.run.memory import free_for_stacks
from ltsweep.run.packing import count, find_devices, largest_stack, pack, stack_id
from ltsweep.run.stack_run import Job, run_stack, steps_done
from ltsweep.run.workers import cores, run_jobs
from ltsweep.schema import FAILED, FINISHED
from ltsweep.show.events import Died, DiskFull, News, Note
from ltsweep.show.table import LiveTable
from ltsweep.store.checkpoints import drop_leftovers
from ltsweep.store.folder import CellFolder, statuses_of, unfinished
from ltsweep.store.hold import hold
from ltsweep.store.provenance import versions
from ltsweep.store.repair import repair


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
    todo = _unfinished(cells, settings)
    if devices[0].type == "cpu" and any(cell.config["precision"] == "tf32" for cell in todo):
        raise UserError("precision=tf32 is a GPU's; a CPU computes precision=float32 or bf16")
    data = load_data(todo, settings.data_dir)
    with contextlib.ExitStack() as held:
        held.enter_context(hold(*((settings.study,) if settings.claim is None else settings.claim)))
        if settings.claim is None:
            take_over(settings.study, [cell.key for cell in _unfinished(cells, settings)])
            drop_leftovers(settings.study)
        broken = _repaired(cells, settings)
        if broken:
            data = load_data(_unfinished(cells, settings), settings.data_dir)
        # Again, now that no other command can change it.
        free = free_for_stacks(devices[0], math.ceil(workers / len(devices)), data.values())
        stacks = stacks_of(cells, settings, lambda cell: given or largest_stack(cell, devices[0].type, free), workers)
        todo = [cell for stack in stacks for cell in stack]
        names = [_stack_name(settings, stack) for stack in stacks]
        for name, stack in zip(names, stacks, strict=True):
            for cell in stack:
                folder = CellFolder(settings.study, cell.key)
                if settings.force:
                    folder.forget()
                folder.plan(cell, stack=name)
        jobs = [
            Job(stack, name, settings.study, settings.checkpoint_every, versions())
            for name, stack in zip(names, stacks, strict=True)
        ]
        totals = {cell.key: _network_steps(cell, data, settings) for cell in todo}
        watcher = LiveTable(again=settings.force)
        try:
            watcher.announce(settings.study, cells, totals)
            for line in broken:
                watcher.note(line)
            places = [str(devices[i % len(devices)]) for i in range(min(workers, len(jobs)))]
            for job, event in run_jobs(jobs, run_stack, data, places):
                if isinstance(event, DiskFull):
                    raise CannotWriteError(event.text)
                if isinstance(event, Note):
                    watcher.note(event.text)
                    continue
                for news in _died(job) if isinstance(event, Died) else [event]:
                    watcher.show(news)
        finally:
            watcher.close()
        if settings.claim is None:
            drop_leftovers(settings.study)  # and the folder itself, now that it is empty
        return statuses_of(cells, settings.study)


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
    statuses = statuses_of(cells, settings.study)
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


def _network_steps(cell: Cell, data: Mapping[str, Dataset], settings: Settings) -> tuple[int, int]:
    """Return the steps of all of a cell's networks: in the whole cell, and those done by earlier commands."""
    steps, _ = lengths(cell.config, len(data[data_key(cell)].train_y) - cell.config["validation"])
    method, level = make(cell.config, "method"), _status(settings.study, cell)["level"]
    before = steps_done(method, steps, level, steps) if level >= 0 else 0
    return steps_done(method, steps, cell.config["levels"], steps), before


def _died(job: Job) -> Iterator[News]:
    """Mark the unfinished cells of a job whose process died; the same command goes on at their last level."""
    for cell in job.cells:
        if CellFolder(job.study, cell.key).fail("the worker process was killed (out of memory, or by hand)"):
            yield News(cell.key, FAILED)


def _repaired(cells: Sequence[Cell], settings: Settings) -> list[str]:
    """Return a line on each file of the cells that was found broken; what cannot do without it is computed again.

    Raises UserError, before anything is changed, where a folder is a link.
    """
    for cell in cells:
        CellFolder(settings.study, cell.key).check_folders()
    return [] if settings.force else [line for cell in cells for line in repair(settings.study, cell)]


def _unfinished(cells: Sequence[Cell], settings: Settings) -> list[Cell]:
    return list(cells) if settings.force else unfinished(cells, statuses_of(cells, settings.study))


def _status(study: Path, cell: Cell) -> dict[str, Any]:
    return CellFolder(study, cell.key).status()
