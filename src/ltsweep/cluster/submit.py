"""Cells as job arrays: packed into tasks, which submitit hands to Slurm."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from submitit import AutoExecutor

from ltsweep.cluster import ledger, slurm
from ltsweep.cluster.node import Task
from ltsweep.cluster.options import Options
from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.store.folder import CellFolder, mates_of
from ltsweep.store.provenance import versions
from ltsweep.words import shown

if TYPE_CHECKING:
    from ltsweep.run.extent import Statuses
    from ltsweep.run.resume import Stack
    from ltsweep.run.settings import Settings

# The stacks of one task.
Pack: TypeAlias = "tuple[Stack, ...]"


def check_options(options: Options, study: Path) -> None:
    """Raise UserError unless Slurm is here and would take a task with these options."""
    slurm.check_commands()
    slurm.check_partition(options.partition, options.timeout_min)
    slurm.check_script(script(study, options, 1))


def settings_for(settings: "Settings", options: Options) -> dict[str, Any]:
    """Return where and how tasks compute, as plain values that mean the same on another machine."""
    device = str(settings.device)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise UserError(f"device={shown(device)} is unknown; choose auto, cpu, cuda, or one GPU such as cuda:1")
    if device == "auto":
        device = "cuda" if options.gpus_per_node else "cpu"  # not auto: a task whose GPU does not work should fail
    return {
        "data_dir": str(settings.data_dir.absolute()),
        "device": device,
        "workers": settings.workers,
        "stack_size": settings.stack_size,
        "checkpoint_every": settings.checkpoint_every,
        "measure": settings.measure,
    }


def make_packs(
    cells: Sequence[Cell], study: Path, statuses: "Statuses", settings: Mapping[str, Any], options: Options
) -> list[Pack]:
    """Divide the unfinished cells into tasks, each of stacks of cells that can share one; no stack is divided.

    With stack_size=auto a task itself divides what it is given, by the memory that it finds: new cells of one task are
    one stack here.
    """
    from ltsweep.run.packing import arms, count, divided, largest_stack
    from ltsweep.run.resume import stacks_of

    gpu = settings["device"] != "cpu"
    stack_size = count(settings["stack_size"], "stack_size", 0)
    side_by_side = count(
        settings["workers"], "workers", max(1, options.gpus_per_node if gpu else options.cpus_per_task)
    )
    most = None if isinstance(options.cells_per_task, str) else options.cells_per_task

    def networks(cell: Cell) -> int:
        return most * arms(cell) if most else largest_stack(cell, "cuda" if gpu else "cpu") * side_by_side

    stacks = stacks_of(cells, {**mates_of(cells, statuses, study), **statuses}, stack_size, networks, 1)
    if not stack_size:
        return [(stack,) for stack in stacks]
    packs: list[Pack] = []
    for key in dict.fromkeys(stack.cells[0].stack_key for stack in stacks):
        alike = [stack for stack in stacks if stack.cells[0].stack_key == key]
        together = max(1, most // max(len(stack.cells) for stack in alike)) if most else side_by_side
        packs += divided(alike, math.ceil(len(alike) / together))
    return packs


def count_cells(packs: Sequence[Pack]) -> list[int]:
    """Return the number of cells that each task computes."""
    return [sum(len(stack.writers) for stack in pack) for pack in packs]


def array_sizes(tasks: int) -> list[int]:
    """Return the sizes of the job arrays for a number of tasks, as equal as can be: Slurm bounds an array."""
    arrays = math.ceil(tasks / slurm.max_array_size())
    return [tasks // arrays + (i < tasks % arrays) for i in range(arrays)] if tasks else []


def submit(packs: Sequence[Pack], study: Path, settings: Mapping[str, Any], options: Options) -> list[str]:
    """Hand the packs to Slurm, a task each; note and return the names of the tasks. The caller holds the study."""
    from ltsweep.run.extent import described  # loads torch

    ledger.make_folder(study)
    ledger.drop_pickles(study, slurm.jobs())
    for stack in (stack for pack in packs for stack in pack):
        facts = {} if settings["stack_size"] == "auto" else stack.facts
        for cell in stack.writers:
            folder = CellFolder(study, cell.key)
            folder.plan(described(cell, folder.config(), folder.status()), **facts)
    given = [tuple(cell for stack in pack for cell in stack.cells) for pack in packs]
    executor = _executor(study, options)
    task = Task(study.absolute(), dict(settings), options.max_requeues, versions())
    cluster = slurm.cluster()
    names: list[str] = []
    for size in array_sizes(len(packs)):
        part = given[len(names) : len(names) + size]
        try:
            jobs = executor.map_array(task, part)
        except Exception as error:
            raise UserError(f"Slurm does not take the tasks: {' '.join(str(error).split())}") from error
        tasks = {str(job.job_id): [cell.key for cell in task_cells] for job, task_cells in zip(jobs, part, strict=True)}
        ledger.add(study, cluster, task.versions, asdict(options), settings, tasks)
        names += tasks
    return names


def script(study: Path, options: Options, tasks: int) -> str:
    """Return the sbatch script of an array of `tasks` tasks, as submitit writes it."""
    inner: Any = _executor(study, options)._executor
    if tasks > 1:
        inner.parameters["map_count"] = tasks
    text: str = inner._make_submission_file_text(inner._submitit_command_str, "")
    return text


def _executor(study: Path, options: Options) -> AutoExecutor:
    executor = AutoExecutor(
        folder=ledger.folder(study).absolute(), cluster="slurm", slurm_max_num_timeout=options.max_requeues
    )
    extra = {"requeue": True} | options.additional_parameters
    executor.update_parameters(
        name=ledger.job_name(study),
        timeout_min=options.timeout_min,
        gpus_per_node=options.gpus_per_node or None,
        cpus_per_task=options.cpus_per_task,
        mem_gb=options.mem_gb,
        slurm_partition=options.partition,
        slurm_account=options.account,
        slurm_qos=options.qos,
        slurm_constraint=options.constraint,
        slurm_setup=list(options.setup) or None,
        slurm_array_parallelism=options.array_parallelism,
        slurm_signal_delay_s=options.signal_delay,
        slurm_additional_parameters={name: value for name, value in extra.items() if value is not False},
    )
    return executor
