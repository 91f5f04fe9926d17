"""What a stack takes of a device's memory and of a processor's caches, reckoned before it is trained.

For one network of P parameters, M of them prunable and L in its largest layer, whose modules make A activations of an
example of I numbers, with an optimizer that keeps S numbers a parameter and batches of B examples, in numbers of four
bytes:

    held        P * (2 + S) + M         weights, gradients, optimizer state, masks
    on a CPU    2 * P + 2 * M           initial weights and masks, as kept and as a level starts
    on a GPU    P                       gradients once more: a captured step has memory of its own
    and the larger of
    a step      B * (I + 3 * A)         on a GPU: twice a batch, its activations as backward needs them, a gradient
                B * (I + 3.5 * A)       on a CPU, where a recorded step keeps all that it made
    pruning     8 * L                   scores, their order and ranks (8 bytes each), sorting

and, for a stack of any size, the activations of one batch of an evaluation, which have a bound of their own.

What is held is gone through at each step. On a CPU a stack pays as long as that stays in the caches.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ltsweep.engine.problem import Problem
from ltsweep.engine.stack import ACTIVATIONS, Network
from ltsweep.grid.cell import Cell
from ltsweep.run.build import make, prunable_layers
from ltsweep.run.hardware import free_bytes

# Of what is free, the share that stacks may fill: allocators round up, and others use the machine too.
_SHARE = 0.8

# Of a step, the numbers that are held at once for each activation.
_KEPT = {"cpu": 3.5, "cuda": 3.0}


# Bytes of networks that a worker goes through at each step without waiting for them. On two cores of an AMD EPYC with
# 32 MB of shared cache, LeNet-300-100 on MNIST (5.3 MB) is best in stacks of 2, 6 % slower in 4, 11 to 19 % in 8.
_CACHED = 12 * 2**20


def held_bytes(cell: Cell) -> int:
    """Return the bytes of one network's weights, gradients, optimizer state and masks."""
    parameters, layers = _sizes(cell, _model(cell))
    return 4 * (parameters * (2 + _slots(cell.config)) + sum(layers))


def network_bytes(cell: Cell, kind: str) -> int:
    """Return the bytes that one network of a cell takes in a stack on a `cpu` or `cuda` device."""
    config, model = cell.config, _model(cell)
    parameters, layers = _sizes(cell, model)
    shape = config["dataset"]["input_shape"]
    step = config["batch_size"] * (math.prod(shape) + _KEPT[kind] * sum(Network(model).activations(shape)))
    numbers = max(step, 8 * max(layers))
    numbers += 2 * parameters + 2 * sum(layers) if kind == "cpu" else parameters
    return held_bytes(cell) + int(4 * numbers)


def networks_in(cell: Cell, kind: str, free: float) -> int:
    """Return how many networks like a cell's fit into `free` bytes of a `cpu` or `cuda` device, at least 1."""
    evaluation = 4 * 3 * ACTIVATIONS[kind]
    return max(1, int((_SHARE * free - evaluation) // network_bytes(cell, kind)))


def networks_cached(cell: Cell) -> int:
    """Return how many networks like a cell's a processor's caches hold beside each other, at least 1."""
    return max(1, _CACHED // held_bytes(cell))


def free_for_stacks(device: torch.device, workers: int, data: Iterable[Problem]) -> float:
    """Return the bytes that a stack may take of a device that so many workers share.

    On a CPU they share the data sets too; on a GPU each has one of its own beside its stack.
    """
    free = free_bytes(device) / workers
    if device.type == "cpu":
        return free
    sizes = [sum(part.nbytes for part in vars(each).values() if isinstance(part, torch.Tensor)) for each in data]
    return free - max(sizes, default=0)


def _model(cell: Cell) -> nn.Module:
    with torch.device("meta"):
        return make(cell.config, "model")  # type: ignore[no-any-return]


def _sizes(cell: Cell, model: nn.Module) -> tuple[int, list[int]]:
    """Return how many parameters a model has, and how many weights each of its prunable layers."""
    layers = [math.prod(layer.shape) for layer in prunable_layers(cell.config, model)]
    return sum(value.numel() for value in model.parameters()), layers


def _slots(config: Mapping[str, Any]) -> int:
    """Return how many numbers a config's optimizer keeps for each parameter, from a step of one."""
    one = torch.zeros(2)
    one.grad = torch.ones(2)
    optimizer = make(config, "optimizer")([{"params": [one], "lr": 0.1}])
    optimizer.step()
    return sum(value.shape == one.shape for value in optimizer.state[one].values() if isinstance(value, torch.Tensor))
