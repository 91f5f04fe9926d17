"""The memory and the caches that a stack needs, reckoned before training.

One network has P parameters, M of them prunable, L in its largest layer. Its modules make A activations of an example
of I numbers, the outputs counted again for the loss; those of a module that draws random numbers count seven times. The
optimizer keeps S numbers for each parameter, and a batch has B examples. In numbers of four bytes the network needs:

    held        P * (2 + S) + M         weights, gradients, optimizer state, masks
                + K * M                 where scores are trained: these and what a step makes of them (`of_scores`)
    on a CPU    2 * P + 2 * M           initial weights and masks, kept and copied for a level
    on a GPU    P                       gradients again: a captured step has memory of its own
    and the larger of
    a step      B * (I + 3 * A)         on a GPU: twice a batch, its activations as backward needs them, a gradient
                B * (I + 3.5 * A) + 2R  on a CPU, where a recorded step keeps all that it made; R: the parameters that
                                        are used again, as often as they are: a gradient each time, and their sum
                + B * 1.5 * W * A       also of W passes without a gradient, where the problem makes such (`passes`)
    pruning     8 * L                   scores, their order and ranks (8 bytes each), sorting

With augmentation a batch has 5 * I numbers in place of I: its pictures between two changes, and where their pixels come
from.

A stack of any size also needs the activations of one batch of an evaluation, of which the widest is bounded by
`engine.stack.ACTIVATIONS`: three times that on a GPU. On a CPU a recorded evaluation keeps all that it made: twice that
for each time that the widest goes into A.

Each step reads all of `held`. On a CPU a stack pays as long as `held` stays in the caches.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ltsweep.engine.plain import make_plainly, on_meta
from ltsweep.engine.plain import step as optimizer_step
from ltsweep.engine.problem import Problem
from ltsweep.engine.stack import ACTIVATIONS, Network
from ltsweep.errors import UserError
from ltsweep.grid.cell import Cell
from ltsweep.run.build import input_dtype, make, prunable_layers
from ltsweep.run.hardware import free_bytes
from ltsweep.words import shown

# Share of the free memory that stacks may fill: allocators round up, and other programs use the machine too.
_SHARE = 0.8

# Numbers that a step holds at once for each activation, as in the table above.
_KEPT = {"cpu": 3.5, "cuda": 3.0}
_KEPT_OF_PASSES = {"cpu": 1.5, "cuda": 0.0}


# Bytes of networks that stay in one worker's caches from step to step. On two cores of an AMD EPYC with 32 MB of shared
# cache, LeNet-300-100 on MNIST (5.3 MB) is best in stacks of 2, 6 % slower in 4, 11 to 19 % in 8.
_CACHED = 12 * 2**20


def held_bytes(cell: Cell) -> int:
    """Return the bytes of one network's weights, gradients, optimizer state and masks, and of its scores."""
    parameters, layers = _sizes(cell, _model(cell))
    of_scores = getattr(make(cell.config, "method"), "of_scores", 0)
    return 4 * (parameters * (2 + _slots(cell.config)) + (1 + of_scores) * sum(layers))


def network_bytes(cell: Cell, kind: str) -> int:
    """Return the bytes that one network of a cell needs in a stack on a `cpu` or `cuda` device."""
    config, model = cell.config, _model(cell)
    parameters, layers = _sizes(cell, model)
    shape = config["dataset"]["input_shape"]
    inputs = math.prod(shape) * (5 if config["dataset"].get("augment") else 1)
    network, dtype = Network(model), input_dtype(config)
    activations = network.activations(shape, dtype)
    kept = _KEPT[kind] + _KEPT_OF_PASSES[kind] * _passes(cell)
    step = config["batch_size"] * (inputs + kept * (sum(activations) + activations[-1]))
    step += 2 * network.used_again(shape, dtype) if kind == "cpu" else 0
    numbers = max(step, 8 * max(layers))
    numbers += 2 * parameters + 2 * sum(layers) if kind == "cpu" else parameters
    return held_bytes(cell) + int(4 * numbers)


def _passes(cell: Cell) -> int:
    """Return the passes without a gradient that a step makes, by a data set's YAML. Raises UserError for no number."""
    passes = cell.how.get("dataset", {}).get("passes", 0)
    if isinstance(passes, bool) or not isinstance(passes, int) or not 0 <= passes <= 100:
        raise UserError(f"dataset.passes={shown(passes)} is out of range: it is a whole number from 0 to 100")
    return passes


def evaluation_bytes(cell: Cell, kind: str) -> int:
    """Return the bytes of one batch of an evaluation of a stack, whatever its size, on a `cpu` or `cuda` device."""
    if kind == "cuda":
        return 4 * 3 * ACTIVATIONS[kind]
    activations = Network(_model(cell)).activations(cell.config["dataset"]["input_shape"], input_dtype(cell.config))
    return 4 * 2 * ACTIVATIONS[kind] * sum(activations) // max(activations)


def networks_in(cell: Cell, kind: str, free: float) -> int:
    """Return the number of a cell's networks that fit into `free` bytes of a `cpu` or `cuda` device, at least 1."""
    return max(1, int((_SHARE * free - evaluation_bytes(cell, kind)) // network_bytes(cell, kind)))


def networks_cached(cell: Cell) -> int:
    """Return the number of a cell's networks that a processor's caches hold at once, at least 1."""
    return max(1, _CACHED // held_bytes(cell))


def free_for_stacks(device: torch.device, workers: int, data: Iterable[Problem]) -> float:
    """Return the bytes that a stack may fill on a device shared by `workers`.

    On a CPU the workers share the data sets too. On a GPU each worker has a copy of its data set beside its stack.
    """
    free = free_bytes(device) / workers
    if device.type == "cpu":
        return free
    sizes = [sum(part.nbytes for part in vars(each).values() if isinstance(part, torch.Tensor)) for each in data]
    return free - max(sizes, default=0)


def _model(cell: Cell) -> nn.Module:
    with on_meta():
        return make(cell.config, "model")  # type: ignore[no-any-return]


def _sizes(cell: Cell, model: nn.Module) -> tuple[int, list[int]]:
    """Return the number of parameters of a model, and the number of weights of each prunable layer."""
    layers = [math.prod(layer.shape) for layer in prunable_layers(cell.config, model)]
    return sum(value.numel() for value in model.parameters()), layers


def _slots(config: Mapping[str, Any]) -> int:
    """Return the numbers of optimizer state for each parameter, counted after one step of a config's optimizer."""
    one = torch.zeros(2)
    one.grad = torch.ones(2)
    optimizer = make_plainly(make(config, "optimizer"), [{"params": [one], "lr": 0.1}])
    optimizer_step(optimizer)
    return sum(value.shape == one.shape for value in optimizer.state[one].values() if isinstance(value, torch.Tensor))
