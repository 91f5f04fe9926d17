"""Train and evaluate a stack.

Letters: C networks, B examples a batch, K classes, N examples of a split.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ltsweep.data import Dataset
from ltsweep.engine.replay import as_written, replayed
from ltsweep.engine.stack import Network, State, Tensors

Schedule = Callable[[int, int], float]
MakeOptimizer = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]

# Floats that evaluation may hold for one layer's activations, over all networks: what stays in a core's caches, and
# what keeps a GPU busy.
ACTIVATIONS = {"cpu": 2 * 2**20, "cuda": 128 * 2**20}


@dataclass(frozen=True)
class Group:
    """Neighbouring networks that share learning rate and weight decay: one stock optimizer group over their slice."""

    rows: slice
    schedule: Schedule
    settings: dict[str, float]


def batches(
    examples: Sequence[Tensor],
    orders: Sequence[torch.Generator],
    networks: int,
    batch_size: int,
    device: torch.device | str = "cpu",
) -> Iterator[Tensor]:
    """Yield index batches (C, B) on a device for ever, an epoch after another; each epoch sees every example once.

    examples: for each cell the indices it may train on; orders: for each cell the stream that shuffles them. Each cell
    has `networks` rows, which share its order. The last batch of an epoch may be smaller.
    """

    def shuffled() -> Sequence[Tensor]:
        each = [kept[torch.randperm(len(kept), generator=rng)] for kept, rng in zip(examples, orders, strict=True)]
        return torch.split(torch.stack(each).repeat_interleave(networks, dim=0).to(device), batch_size, dim=1)

    epoch = shuffled()
    while True:
        yield from epoch[:-1]
        last, epoch = epoch[-1], shuffled()  # while a GPU still has steps of this epoch before it
        yield last


def train(
    network: Network,
    state: State,
    data: Dataset,
    order: Iterator[Tensor],
    make_optimizer: MakeOptimizer,
    groups: Sequence[Group],
    steps: int,
    start: int = 0,
    saved: Tensors | None = None,
) -> Iterator[tuple[int, torch.optim.Optimizer]]:
    """Train `state` in place for `steps` steps, yielding the number done after each, and the optimizer for `snapshot`.

    To go on in the middle, give the snapshot and the step it was taken at, with `order` just past that step's batch.

    Masked weights are exactly zero at every yield: the masks are applied after each step, so that neither momentum nor
    weight decay can bring a weight back. The loss of one network never enters another's gradient.

    With torch's own fused optimizers the whole step is recorded and replayed; others may keep their count, and get
    their learning rate, where a recording does not see it.
    """
    memory = network.transposed(state.params)
    leaves = {name: value.detach().requires_grad_() for name, value in memory.items()}
    masks = network.transposed(state.masks)
    pruned, keep = [memory[name] for name in masks], list(masks.values())
    rates = [group.schedule(start, steps) for group in groups]
    optimizer = make_optimizer(
        [
            {"params": [value[g.rows] for value in memory.values()], "lr": rate, **g.settings}
            for g, rate in zip(groups, rates, strict=True)
        ]
    )
    if saved is not None:
        _restore(network, state, optimizer, saved)

    def take(index: Tensor) -> None:  # (C, B)
        x = data.train_x.index_select(0, index.flatten()).view(*index.shape, *data.train_x.shape[1:])  # (C, B, *shape)
        y = data.train_y.index_select(0, index.flatten())  # (C * B,)
        logits = network(network.transposed(leaves), state.buffers, x, training=True)  # (C, B, K)
        loss = cross_entropy(logits.flatten(0, 1), y, reduction="none").view_as(index).mean(1)  # (C,)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        for group, settings in zip(groups, optimizer.param_groups, strict=True):
            for slice_, leaf in zip(settings["params"], leaves.values(), strict=True):
                slice_.grad = None if leaf.grad is None else leaf.grad[group.rows]
        optimizer.step()
        for each in (
            *leaves.values(),
            *(slice_ for settings in optimizer.param_groups for slice_ in settings["params"]),
        ):
            each.grad = None
        torch._foreach_mul_(pruned, keep)

    device = data.train_y.device
    recorded = _take_rates_from_memory(optimizer, device)
    do = replayed(take, device) if recorded else as_written(take, device)
    for step in range(start, steps):
        for number, (group, settings) in enumerate(zip(groups, optimizer.param_groups, strict=True)):
            rate = group.schedule(step, steps)
            if rate != rates[number]:
                rates[number] = rate
                settings["lr"] = settings["lr"].fill_(rate) if recorded else rate
        do(next(order))
        yield step + 1, optimizer


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
    for index, slots in optimizer.state_dict()["state"].items():
        held |= {f"optimizer/{index}/{slot}": value for slot, value in slots.items() if isinstance(value, Tensor)}
    return held


def _restore(network: Network, state: State, optimizer: torch.optim.Optimizer, saved: Tensors) -> None:
    """Put a snapshot back, bit for bit, into a state and an optimizer that have not moved yet."""
    for name, value in network.transposed(state.params).items():
        value.copy_(saved[f"params/{name}"])
    for name, value in state.buffers.items():
        value.copy_(saved[f"buffers/{name}"])
    slots: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for name, value in saved.items():
        if name.startswith("optimizer/"):
            _, index, slot = name.split("/")
            slots[int(index)][slot] = value
    optimizer.load_state_dict({"state": dict(slots), "param_groups": optimizer.state_dict()["param_groups"]})


@torch.no_grad()
def evaluate(network: Network, state: State, data: Dataset, held_out: Tensor) -> dict[str, list[float]]:
    """Score every example of every split once: mean cross-entropy and share correct, for each of the C networks.

    held_out: (C, N) booleans, true where a training example belongs to the network's validation split. Returns lists
    of C numbers under train_loss, train_accuracy, val_*, test_*; a split without examples is nan.
    """
    train_loss, train_right = _score(network, state, data.train_x, data.train_y)
    test_loss, test_right = _score(network, state, data.test_x, data.test_y)
    everything = torch.ones_like(test_right)
    splits = {
        "train": (train_loss, train_right, ~held_out),
        "val": (train_loss, train_right, held_out),
        "test": (test_loss, test_right, everything),
    }
    scores = {}
    for split, (loss, right, chosen) in splits.items():
        count = chosen.sum(1)  # (C,)
        # where, not a product: a nan outside the split must not enter it.
        scores[f"{split}_loss"] = (torch.where(chosen, loss, 0).sum(1, dtype=torch.float64) / count).tolist()
        scores[f"{split}_accuracy"] = ((right & chosen).sum(1, dtype=torch.float64) / count).tolist()
    return scores


def _score(network: Network, state: State, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of each network on each example, (C, N), and whether its answer is right, (C, N)."""
    networks, device = len(next(iter(state.params.values()))), x.device
    losses = torch.empty(networks, len(y), dtype=x.dtype, device=device)
    right = torch.empty(networks, len(y), dtype=torch.bool, device=device)

    def take(index: Tensor) -> None:  # (B,)
        logits = network(state.params, state.buffers, x.index_select(0, index), training=False)  # (C, B, K)
        labels = y.index_select(0, index).expand(networks, -1)  # (C, B)
        loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
        losses.index_copy_(1, index, loss)
        right.index_copy_(1, index, logits.argmax(2) == labels)

    # Capturing a CUDA graph takes longer than the few large batches that a GPU is given.
    do = (replayed if device.type == "cpu" else as_written)(take, device)
    size = max(1, min(len(y), ACTIVATIONS[device.type] // (networks * max(network.activations(x.shape[1:])))))
    for index in torch.split(torch.arange(len(y), device=device), size):
        do(index)
    return losses, right
