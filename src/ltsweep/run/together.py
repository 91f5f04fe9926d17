"""One cell trained by all processes of torchrun: the first does and writes everything, the others train along."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

import torch
from torch import distributed

from ltsweep.engine.problem import Problem
from ltsweep.engine.ranks import part, told
from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.lottery.loop import run_levels
from ltsweep.lottery.program import Checkpoint, Member, Program
from ltsweep.run.build import asked_of, data_key
from ltsweep.run.hardware import set_precision
from ltsweep.run.workers import prepare_process

# How long a process waits for another: scores are taken by the first one alone, and may take hours.
_PATIENCE = timedelta(days=30)

# The arguments of `run_levels`, with the problem on the CPU; None at the end.
_Work: TypeAlias = tuple[Program, Sequence[Member], int, Checkpoint | None] | None

# Whether the others are in the middle of a level, where no message reaches them.
_training = False


@contextlib.contextmanager
def joined() -> Iterator[bool]:
    """Join torchrun's processes while the block runs; yield whether this is the first, which has the work."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield part().number == 0
    finally:
        if not _training:  # otherwise this process ends, and with it the others
            if part().number == 0:
                told(None)
            distributed.destroy_process_group()


@contextlib.contextmanager
def led(program: Program, members: Sequence[Member], first: int, checkpoint: Checkpoint | None) -> Iterator[None]:
    """Let the other processes run these levels too, while the block does."""
    global _training
    if part().of == 1:
        yield
        return
    if _training:
        raise RuntimeError("the other processes of torchrun have stopped")
    problem = program.problem.to(torch.device("cpu"))
    told((replace(program, problem=problem, measurements={}), members, first, checkpoint))
    _training = True
    yield
    _training = False


def follow() -> None:
    """Train along with the first process until it has no more work. Nothing is written, nor printed but a failure."""
    prepare_process()
    work: _Work
    try:
        while (work := told()) is not None:
            program, members, first, checkpoint = work
            device = program.device
            if device.type == "cuda":
                device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
                torch.cuda.set_device(device)
            set_precision(program.precision)
            program = replace(program, problem=program.problem.to(device), device=device)
            for _ in run_levels(program, members, first, checkpoint):
                pass
    except KeyboardInterrupt:
        os._exit(130)  # the first process says so
    except Exception as error:
        number, of = part()
        says = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        print(f"ltsweep: process {number + 1} of {of} stopped: {says}", file=sys.stderr)
        os._exit(1)  # the first one waits for this one, and not for a message


def check_together(cells: Sequence[Cell], data: Mapping[str, Problem]) -> None:
    """Raise UserError where torchrun's processes cannot train what is asked: one cell, its batches in equal parts."""
    of = part().of
    if of == 1:
        return
    if len(cells) > 1:
        raise UserError(
            f"torchrun's {of} processes train one cell together, and the grid has {len(cells)}; without torchrun, "
            "several GPUs train several cells side by side"
        )
    for cell in cells:
        size = cell.config["batch_size"]
        if size % of:
            raise UserError(f"batch_size={size} is not divisible by {of}, the number of torchrun's processes")
        if problem := data.get(data_key(cell)):
            problem.check(asked_of(cell.config, of))
