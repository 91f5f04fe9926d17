"""Processes that train one stack together, as torch.distributed joins them: each takes its part of every batch.

Alone, a process is the first of one, and nothing here does anything.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from ltsweep.engine.problem import ALL, Batch, Part

T = TypeVar("T")


def part() -> Part:
    """Return the part of each batch that this process takes."""
    if not distributed.is_available() or not distributed.is_initialized():
        return ALL
    return Part(distributed.get_rank(), distributed.get_world_size())


def average(tensors: Sequence[Tensor], batch: Batch) -> None:
    """Replace tensors, such as gradients, by their mean over the processes, each weighted by its part of the batch.

    So the gradients of mean losses become that of the mean loss over the whole batch, also where parts differ. All
    processes get the same bits.
    """
    if part().of == 1:
        return
    own = tensors[0].new_tensor([batch[0].shape[1]])
    every = torch.cat([*(value.flatten() * own for value in tensors), own])
    distributed.all_reduce(every)
    means = torch.split(every[:-1] / every[-1], [value.numel() for value in tensors])
    for value, mean in zip(tensors, means, strict=True):
        value.copy_(mean.view_as(value))


def agreed(compute: Callable[[], T]) -> T:
    """Return what `compute` returns in the first process, to all of them; it is called there alone."""
    return compute() if part().of == 1 else told(compute() if part().number == 0 else None)


def told(what: Any = None) -> Any:
    """Return what the first process was given here, to all of them; the others wait for it."""
    box = [what]
    distributed.broadcast_object_list(box, src=0)
    return box[0]
