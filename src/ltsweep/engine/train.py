"""Train a stack: the steps of one level, and what a checkpoint in the middle of it holds.

Letters: C networks.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ltsweep.engine.problem import Batch, Problem
from ltsweep.engine.replay import as_written, replayed
from ltsweep.engine.stack import Forward, Network, State, Tensors
from ltsweep.engine.trained import Trained

# (step, steps) -> learning rate at that step of a level of `steps` steps.
Schedule = Callable[[int, int], float]
MakeOptimizer = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Group:
    """Neighbouring networks that share learning rate and weight decay: one stock optimizer group over their slice."""

    rows: slice
    schedule: Schedule
    settings: dict[str, float]


def train(
    network: Network,
    trained: Trained,
    state: State,
    problem: Problem,
    batches: Iterator[Batch],
    make_optimizer: MakeOptimizer,
    groups: Sequence[Group],
    steps: int,
    start: int = 0,
    saved: Tensors | None = None,
) -> Iterator[tuple[int, torch.optim.Optimizer]]:
    """Train `state` in place for `steps` steps, yielding the number done after each, and the optimizer.

    To go on in the middle, give the snapshot and the step it was taken at, with `batches` just past that step's batch.

    After each step `trained` puts its invariant back: masked weights are exactly zero at every yield. The loss of one
    network never enters another's gradient.

    With torch's own fused optimizers the whole step is recorded and replayed; others may keep their count, and get
    their learning rate, where a recording does not see it.
    """
    memory = trained.leaves(state)
    leaves = {name: value.detach().requires_grad_() for name, value in memory.items()}
    rates = [group.schedule(start, steps) for group in groups]
    optimizer = make_optimizer(
        [
            {"params": [value[g.rows] for value in memory.values()], "lr": rate, **g.settings}
            for g, rate in zip(groups, rates, strict=True)
        ]
    )
    if saved is not None:
        _restore(network, state, optimizer, saved)

    def take(batch: Batch) -> None:
        forward = Forward(network, trained.weights(leaves, state), state.buffers, training=True)
        problem.loss(forward, state.memory, batch).sum().backward()  # type: ignore[no-untyped-call]
        for group, settings in zip(groups, optimizer.param_groups, strict=True):
            for slice_, leaf in zip(settings["params"], leaves.values(), strict=True):
                slice_.grad = None if leaf.grad is None else leaf.grad[group.rows]
        optimizer.step()
        for each in (
            *leaves.values(),
            *(slice_ for settings in optimizer.param_groups for slice_ in settings["params"]),
        ):
            each.grad = None
        trained.after_step(memory, state)

    device = next(iter(memory.values())).device
    recorded = _take_rates_from_memory(optimizer, device)
    do = replayed(take, device) if recorded else as_written(take, device)
    for step in range(start, steps):
        for number, (group, settings) in enumerate(zip(groups, optimizer.param_groups, strict=True)):
            rate = group.schedule(step, steps)
            if rate != rates[number]:
                rates[number] = rate
                settings["lr"] = settings["lr"].fill_(rate) if recorded else rate
        do(next(batches))
        yield step + 1, optimizer


def scored(network: Network, trained: Trained, state: State) -> Forward:
    """Return the networks of `state` as they are scored: with the weights that training would use now."""
    return Forward(network, trained.weights(trained.leaves(state), state), state.buffers, training=False)


def _take_rates_from_memory(optimizer: torch.optim.Optimizer, device: torch.device) -> bool:
    """Make an optimizer read each group's learning rate from a tensor, where it can; return whether it does."""
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD):
        return False
    if not all(settings["fused"] for settings in optimizer.param_groups):
        return False
    for settings in optimizer.param_groups:
        # As a number: a CPU's kernels read it as float64, a GPU's want float32.
        dtype = torch.float32 if device.type == "cuda" else torch.float64
        settings["lr"] = torch.tensor(settings["lr"], dtype=dtype, device=device)
        if "capturable" in settings:
            settings["capturable"] = device.type == "cuda"
    return True


def snapshot(network: Network, state: State, optimizer: torch.optim.Optimizer) -> Tensors:
    """Return all that training changes, by name; the tensors are live, so write them out before the next step."""
    held = {f"params/{name}": value for name, value in network.transposed(state.params).items()}
    held |= {f"buffers/{name}": value for name, value in state.buffers.items()}
    held |= {f"memory/{name}": value for name, value in state.memory.items()}
    for index, slots in optimizer.state_dict()["state"].items():
        held |= {f"optimizer/{index}/{slot}": value for slot, value in slots.items() if isinstance(value, Tensor)}
    return held


def _restore(network: Network, state: State, optimizer: torch.optim.Optimizer, saved: Tensors) -> None:
    """Put a snapshot back, bit for bit, into a state and an optimizer that have not moved yet."""
    for name, value in network.transposed(state.params).items():
        value.copy_(saved[f"params/{name}"])
    for name, value in state.buffers.items():
        value.copy_(saved[f"buffers/{name}"])
    for name, value in state.memory.items():
        value.copy_(saved[f"memory/{name}"])
    slots: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for name, value in saved.items():
        if name.startswith("optimizer/"):
            _, index, slot = name.split("/")
            slots[int(index)][slot] = value
    optimizer.load_state_dict({"state": dict(slots), "param_groups": optimizer.state_dict()["param_groups"]})
