"""Train a stack: the steps of one level, and the snapshot that a checkpoint inside a level holds.

Letters: C networks.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ltsweep.engine.plain import STOCK, make_plainly
from ltsweep.engine.plain import step as optimizer_step
from ltsweep.engine.problem import ALL, Batch, Problem
from ltsweep.engine.ranks import average, part
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
    clip: float | None = None,
) -> Iterator[tuple[int, torch.optim.Optimizer]]:
    """Train `state` in place from step `start` to step `steps`. Yield the steps done and the optimizer after each.

    To resume inside a level, pass the snapshot as `saved`, its step as `start`, and `batches` from the next batch on.
    clip: the largest norm of a network's gradient, to which a larger one is scaled.

    After each step `trained` restores its invariant: masked weights are exactly zero at every yield, or masks are those
    of the scores. The loss of one network never enters another's gradient.

    With torch's own fused optimizers the whole step is recorded and replayed. Any other runs as written: a recording
    would not see a step count or a learning rate that is a Python number. So does the step of several processes, which
    average their gradients, and their running statistics: they stay equal to the bit.
    """
    memory = trained.leaves(state)
    leaves = {name: value.detach().requires_grad_() for name, value in memory.items()}
    rates = [group.schedule(start, steps) for group in groups]
    optimizer = make_plainly(
        make_optimizer,
        [
            {"params": [value[g.rows] for value in memory.values()], "lr": rate, **g.settings}
            for g, rate in zip(groups, rates, strict=True)
        ],
    )
    if saved is not None:
        _restore(network, state, optimizer, saved)
        trained.after_step(memory, state)  # masks that are learned are not in the snapshot

    def take(batch: Batch) -> None:
        forward = Forward(network, trained.weights(leaves, state), state.buffers, training=True)
        problem.loss(forward, state.memory, batch).sum().backward()  # type: ignore[no-untyped-call]
        average([*_gradients(leaves), *(value for value in state.buffers.values() if value.is_floating_point())], batch)
        if clip is not None:
            _clip(leaves, trained.free(state), clip)
        for group, settings in zip(groups, optimizer.param_groups, strict=True):
            for slice_, leaf in zip(settings["params"], leaves.values(), strict=True):
                slice_.grad = None if leaf.grad is None else leaf.grad[group.rows]
        optimizer_step(optimizer)
        for each in (
            *leaves.values(),
            *(slice_ for settings in optimizer.param_groups for slice_ in settings["params"]),
        ):
            each.grad = None
        trained.after_step(memory, state)

    device = next(iter(memory.values())).device
    recorded = _take_rates_from_memory(optimizer, device)
    alone = part() == ALL  # what processes tell each other is not recorded
    do = replayed(take, device) if recorded and alone else as_written(take, device)
    for step in range(start, steps):
        for number, (group, settings) in enumerate(zip(groups, optimizer.param_groups, strict=True)):
            rate = group.schedule(step, steps)
            if rate != rates[number]:
                rates[number] = rate
                settings["lr"] = settings["lr"].fill_(rate) if recorded else rate
        do(next(batches))
        yield step + 1, optimizer


def _gradients(leaves: Tensors) -> list[Tensor]:
    return [leaf.grad for leaf in leaves.values() if leaf.grad is not None]


def _clip(leaves: Tensors, free: Tensors, most: float) -> None:
    """Scale the gradients in place so that each network's norm, over all leaves together, is at most `most`.

    free: as `Trained.free`. Removed weights do not count in the norm: their gradients move nothing.
    """
    gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    counted = [value * free[name] if name in free else value for name, value in gradients.items()]
    norms = torch.stack([torch.linalg.vector_norm(value.flatten(1), dim=1) for value in counted])  # (leaves, C)
    scale = (most / torch.linalg.vector_norm(norms, dim=0)).clamp(max=1)  # (C,)
    for value in gradients.values():
        value.mul_(scale.view(-1, *(1 for _ in value.shape[1:])))


def scored(network: Network, trained: Trained, state: State) -> Forward:
    """Return the networks of `state` for an evaluation."""
    return Forward(network, trained.scored(state), state.buffers, training=False)


def _take_rates_from_memory(optimizer: torch.optim.Optimizer, device: torch.device) -> bool:
    """Replace each group's learning rate by a tensor if the optimizer can be recorded; return whether it can."""
    if type(optimizer) not in STOCK:
        return False
    if not all(settings["fused"] for settings in optimizer.param_groups):
        return False
    for settings in optimizer.param_groups:
        # A CPU's kernels read the learning rate as float64, a GPU's as float32.
        dtype = torch.float32 if device.type == "cuda" else torch.float64
        settings["lr"] = torch.tensor(settings["lr"], dtype=dtype, device=device)
        if "capturable" in settings:
            settings["capturable"] = device.type == "cuda"
    return True


def snapshot(network: Network, state: State, optimizer: torch.optim.Optimizer) -> Tensors:
    """Return all tensors that training changes, by name. They are live, so write them out before the next step."""
    held = {f"params/{name}": value for name, value in network.transposed(state.params).items()}
    held |= {f"scores/{name}": value for name, value in network.transposed(state.scores).items()}
    held |= {f"buffers/{name}": value for name, value in state.buffers.items()}
    held |= {f"memory/{name}": value for name, value in state.memory.items()}
    for index, slots in optimizer.state_dict()["state"].items():
        held |= {f"optimizer/{index}/{slot}": value for slot, value in slots.items() if isinstance(value, Tensor)}
    return held


def _restore(network: Network, state: State, optimizer: torch.optim.Optimizer, saved: Tensors) -> None:
    """Copy a snapshot, bit for bit, into a state and an optimizer that have not taken a step yet."""
    for name, value in network.transposed(state.params).items():
        value.copy_(saved[f"params/{name}"])
    for name, value in network.transposed(state.scores).items():
        value.copy_(saved[f"scores/{name}"])
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
