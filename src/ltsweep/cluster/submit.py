"""A grid as job arrays: the settings checked, the cells packed into tasks, the tasks handed to Slurm by submitit."""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submitit import AutoExecutor

from ltsweep.cluster import ledger, slurm
from ltsweep.cluster.node import Task
from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.store.folder import FINISHED, CellFolder
from ltsweep.store.provenance import versions

if TYPE_CHECKING:
    from ltsweep.run.study import Settings

Pack = tuple[Cell, ...]


@dataclass(frozen=True)
class Options:
    """The settings of `hydra/launcher=slurm`; conf/hydra/launcher/slurm.yaml says what each does."""

    cells_per_task: int | str
    partition: str | None
    account: str | None
    qos: str | None
    constraint: str | None
    timeout_min: int
    gpus_per_node: int
    cpus_per_task: int
    mem_gb: float | None
    setup: list[str]
    additional_parameters: dict[str, Any]
    array_parallelism: int
    signal_delay_s: int | str
    max_requeues: int
    wait: bool
    dry_run: bool
    poll_seconds: float

    @property
    def signal_delay(self) -> int:
        """Return how many seconds before its end a task is told to stop."""
        if isinstance(self.signal_delay_s, int):
            return self.signal_delay_s
        return min(90, self.timeout_min * 60 // 4)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\n" not in value


def _is_whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low < value <= high


def _is_parameters(value: Any) -> bool:
    def fits(given: Any) -> bool:
        return isinstance(given, int | float) or _is_text(given)

    return value is None or (isinstance(value, dict) and all(_is_text(k) and fits(v) for k, v in value.items()))


def _is_lines(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(line, str) and "\n" not in line for line in value)


_WORD = (lambda value: value is None or _is_text(value), "null or a name")
# Name -> (what a value must satisfy, in words).
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "cells_per_task": (lambda value: value == "auto" or _is_whole(1, 100_000)(value), "auto, or a whole number from 1"),
    "partition": _WORD,
    "account": _WORD,
    "qos": _WORD,
    "constraint": _WORD,
    "timeout_min": (_is_whole(1, 1_000_000), "a whole number of minutes from 1"),
    "gpus_per_node": (_is_whole(0, 1_000), "a whole number from 0"),
    "cpus_per_task": (_is_whole(1, 10_000), "a whole number from 1"),
    "mem_gb": (lambda value: value is None or _is_number(0, 100_000)(value), "null, or a number above 0"),
    "setup": (_is_lines, "a list of shell commands, each of one line"),
    "additional_parameters": (_is_parameters, "sbatch's own options by name, such as {exclusive: true}"),
    "array_parallelism": (_is_whole(1, 100_000), "a whole number from 1"),
    "signal_delay_s": (lambda value: value == "auto" or _is_whole(1, 65_535)(value), "auto, or whole seconds from 1"),
    "max_requeues": (_is_whole(0, 10_000), "a whole number from 0"),
    "wait": (_is_flag, "true or false"),
    "dry_run": (_is_flag, "true or false"),
    "poll_seconds": (_is_number(0, 15), "a number of seconds above 0, up to 15"),
}


def options_from(given: Mapping[str, Any]) -> Options:
    """Return the options, each checked. Raises UserError for the first that is unknown, missing or out of range."""
    for name in given:
        if name not in _RULES:
            close = difflib.get_close_matches(name, _RULES, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(_RULES)}"
            raise UserError(f"hydra.launcher.{name} is unknown{hint}")
    for name, (holds, allowed) in _RULES.items():
        if name not in given:
            raise UserError(f"hydra.launcher.{name} is missing; a preset begins with: defaults: [slurm]")
        if not holds(given[name]):
            raise UserError(f"hydra.launcher.{name}={given[name]} is out of range: it is {allowed}")
    options = Options(**{**given, "additional_parameters": given["additional_parameters"] or {}})
    if options.signal_delay >= options.timeout_min * 60:
        raise UserError(
            f"hydra.launcher.signal_delay_s={options.signal_delay_s} is out of range: "
            f"a task has {options.timeout_min * 60} seconds"
        )
    return options


def check_options(options: Options, study: Path) -> None:
    """Raise UserError unless Slurm is here and would take a task with these options."""
    slurm.require()
    slurm.check_partition(options.partition, options.timeout_min)
    slurm.check_script(script(study, options, 1))


def settings_for(settings: "Settings", options: Options) -> dict[str, Any]:
    """Return what tasks are told of where and how to compute, as plain values that another machine understands."""
    device = str(settings.device)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise UserError(f"device={device} is unknown; choose auto, cpu, cuda, or one GPU such as cuda:1")
    if device == "auto":
        device = "cuda" if options.gpus_per_node else "cpu"  # a node whose GPU does not work is to say so
    return {
        "data_dir": str(settings.data_dir.absolute()),
        "device": device,
        "workers": settings.workers,
        "stack_size": settings.stack_size,
        "checkpoint_every": settings.checkpoint_every,
    }


def make_packs(
    cells: Sequence[Cell], study: Path, settings: Mapping[str, Any], options: Options, force: bool = False
) -> list[Pack]:
    """Split cells into tasks: cells that can share a stack, and stacks that were begun as they were."""
    from ltsweep.run.packing import arms, count, largest_stack
    from ltsweep.run.study import Settings, stacks_of

    gpu = settings["device"] != "cpu"
    given = count(settings["stack_size"], "stack_size", 0)
    side_by_side = count(
        settings["workers"], "workers", max(1, options.gpus_per_node if gpu else options.cpus_per_task)
    )

    def networks(cell: Cell) -> int:
        if not isinstance(options.cells_per_task, str):
            return options.cells_per_task * arms(cell)
        return (given or largest_stack(cell, "cuda" if gpu else "cpu")) * side_by_side

    return stacks_of(cells, Settings(study, **settings, force=force), networks, 1)


def array_sizes(tasks: int) -> list[int]:
    """Return the sizes of the job arrays for so many tasks, as equal as they come."""
    arrays = math.ceil(tasks / slurm.max_array_size())
    return [tasks // arrays + (i < tasks % arrays) for i in range(arrays)] if tasks else []


def submit(packs: Sequence[Pack], study: Path, settings: Mapping[str, Any], options: Options) -> list[str]:
    """Hand the packs to Slurm, a task each, and note them; returns the tasks. The study is to be held."""
    ledger.make_folder(study)
    for pack in packs:
        for cell in pack:
            folder = CellFolder(study, cell.key)
            if folder.status()["status"] not in FINISHED:  # one that only keeps its stack company stays as it is
                folder.plan(cell)
    executor = _executor(study, options)
    task = Task(study.absolute(), dict(settings), options.max_requeues, versions())
    cluster = slurm.cluster()
    names: list[str] = []
    for size in array_sizes(len(packs)):
        part = packs[len(names) : len(names) + size]
        try:
            jobs = executor.map_array(task, part)
        except Exception as error:
            raise UserError(f"Slurm does not take the tasks: {' '.join(str(error).split())}") from error
        tasks = {str(job.job_id): [cell.key for cell in pack] for job, pack in zip(jobs, part, strict=True)}
        ledger.add(study, cluster, task.versions, asdict(options), settings, tasks)
        names += tasks
    return names


def script(study: Path, options: Options, tasks: int) -> str:
    """Return the sbatch script of an array of so many tasks, as submitit writes it."""
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
        name=f"ltsweep-{study.name}",
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
