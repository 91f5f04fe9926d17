"""The lottery-ticket loop (Frankle & Carbin 2019, section 2): train, evaluate, prune, rewind, level after level."""

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ltsweep.data import Dataset
from ltsweep.engine.stack import Network, State, Tensors
from ltsweep.engine.train import Group, MakeOptimizer, Schedule, batches, evaluate, snapshot, train
from ltsweep.init import Init
from ltsweep.lottery.rows import Row, evaluation_rows, layer_counts, of_ticket, summaries, until_diverged
from ltsweep.method.imp import IMP, Arm
from ltsweep.prune import Layer
from ltsweep.rng import generator


@dataclass(frozen=True)
class Program:
    """What all cells of a stack share."""

    model: nn.Module
    layers: Sequence[Layer]
    data: Dataset
    method: IMP
    make_optimizer: MakeOptimizer
    levels: int
    steps: int  # a level
    steps_per_epoch: int
    evaluate_every: int  # steps
    batch_size: int
    validation: int  # examples
    checkpoint_every: float  # seconds
    device: torch.device
    precision: str = "float32"


@dataclass(frozen=True)
class Member:
    """What is one cell's own in a stack, with the ticket it goes on from."""

    key: str
    seed: int
    init: Init
    schedule: Schedule
    settings: dict[str, float]  # of its optimizer group: weight decay
    rates: Mapping[str, float]  # layer name -> share of the surviving weights removed a level
    initial: Tensors
    masks: Tensors


@dataclass(frozen=True)
class Progress:
    """How far a stack is: sent after each evaluation, with the newest row of each cell's ticket by its key."""

    level: int
    steps_done: int
    tickets: dict[str, Row]


@dataclass(frozen=True)
class Checkpoint:
    """A stack in the middle of a level: enough to go on as if it had never stopped.

    rows: key -> the level's evaluations so far; seconds: the level's training time so far.
    """

    level: int
    step: int
    seconds: float
    rows: dict[str, list[Row]]
    tensors: Tensors


@dataclass(frozen=True)
class LevelDone:
    """One cell's finished level: its rows, and the masks of the next level (None after the last, or if it diverged)."""

    key: str
    level: int
    evaluations: list[Row]
    summaries: list[Row]
    next_masks: Tensors | None
    diverged: bool


def run_levels(
    program: Program, members: Sequence[Member], first: int, checkpoint: Checkpoint | None = None
) -> Iterator[Progress | Checkpoint | LevelDone]:
    """Run the levels from `first` on for all `members` together; a cell that diverges leaves after its level.

    Not in the middle of it, where its neighbours would go on as another program than they began as; but a level ends
    where no cell of it is left. Either way the rows of a cell end where it diverged.

    A checkpoint of level `first` from the same members is gone on from; any other is left aside.
    """
    network = Network(program.model, program.precision)
    alive = sorted(members, key=_group_key)  # neighbours share an optimizer group
    masks = {member.key: member.masks for member in alive}
    for level in range(first, program.levels + 1):
        arms = program.method.arms(level)
        starts = [
            program.method.start(arm, program.model, m.init, m.seed, level, m.initial, masks[m.key])
            for m in alive
            for arm in arms
        ]
        state = network.stack([weights for weights, _ in starts], [mask for _, mask in starts], program.device)
        if checkpoint and (checkpoint.level != level or list(checkpoint.rows) != [m.key for m in alive]):
            checkpoint = None
        tables: dict[str, list[Row]] = checkpoint.rows if checkpoint else {m.key: [] for m in alive}
        yield from _train_level(program, network, state, alive, arms, level, tables, checkpoint)

        tickets = _every(state, len(arms))  # the ticket is each cell's first arm
        pruned = program.method.prune(tickets, [member.rates for member in alive])
        survivors = []
        for c, member in enumerate(alive):
            table, diverged = until_diverged(tables[member.key])
            last = diverged or level == program.levels
            next_masks = None if last else {name: mask[c].cpu() for name, mask in pruned.items()}
            summary = summaries(table, layer_counts(tickets, c, program.layers))
            yield LevelDone(member.key, level, table, summary, next_masks, diverged)
            if next_masks is not None:
                masks[member.key] = next_masks
                survivors.append(member)
        alive = survivors
        if not alive:
            return


def _train_level(
    program: Program,
    network: Network,
    state: State,
    members: Sequence[Member],
    arms: Sequence[Arm],
    level: int,
    tables: dict[str, list[Row]],
    checkpoint: Checkpoint | None,
) -> Iterator[Progress | Checkpoint]:
    """Train `state` in place for a level, adding a row for each network to `tables` at each evaluation."""
    held_out = torch.stack([_held_out(member, program) for member in members])  # (cells, N)
    orders = [generator(member.seed, "order", level) for member in members]
    mine = [(~row).nonzero().flatten() for row in held_out]
    order = batches(mine, orders, len(arms), program.batch_size, program.device)
    held_out = held_out.repeat_interleave(len(arms), dim=0).to(program.device)  # (C, N)
    total = sum(math.prod(layer.shape) for layer in program.layers)
    remaining = [sum(int(torch.count_nonzero(mask[c])) for mask in state.masks.values()) for c in range(len(held_out))]
    start, tensors, before = (checkpoint.step, checkpoint.tensors, checkpoint.seconds) if checkpoint else (0, None, 0.0)
    order = itertools.islice(order, start, None)
    groups, steps = _groups(members, len(arms)), program.steps
    saved_at = time.perf_counter()
    began = saved_at - before
    for step, optimizer in train(
        network, state, program.data, order, program.make_optimizer, groups, steps, start, tensors
    ):
        scored = step % program.evaluate_every == 0 or step == steps
        if scored and program.device.type == "cuda":
            torch.cuda.synchronize(program.device)  # which may still be steps behind
        now = time.perf_counter()
        if scored:
            scores = evaluate(network, state, program.data, held_out)
            for c, member in enumerate(members):
                tables[member.key] += evaluation_rows(
                    arms,
                    scores,
                    c * len(arms),
                    level=level,
                    weights_remaining=remaining[c * len(arms)],
                    weights_total=total,
                    epoch=step / program.steps_per_epoch,
                    iteration=step,
                    lr=member.schedule(step - 1, steps),
                    seconds=(now - began) / len(held_out),
                )
            yield Progress(level, step, {key: of_ticket(table)[-1] for key, table in tables.items()})
            if all(until_diverged(table)[1] for table in tables.values()):
                return
        due = step % program.steps_per_epoch == 0 or now - saved_at >= program.checkpoint_every
        if due and step < steps:
            saved_at = now
            yield Checkpoint(level, step, now - began, tables, snapshot(network, state, optimizer))


def _held_out(member: Member, program: Program) -> Tensor:
    """Return the validation split of a cell, drawn by its seed: booleans (N,) over the training examples."""
    held_out = torch.zeros(len(program.data.train_y), dtype=torch.bool)
    split = torch.randperm(len(held_out), generator=generator(member.seed, "validation"))
    held_out[split[: program.validation]] = True
    return held_out


def _group_key(member: Member) -> tuple[Any, ...]:
    keywords = getattr(member.schedule, "keywords", {})
    return (sorted(keywords.items(), key=str), sorted(member.settings.items()))


def _groups(members: Sequence[Member], arms: int) -> list[Group]:
    """Return one optimizer group for each run of neighbours with the same schedule and settings."""
    groups: list[Group] = []
    previous: Member | None = None
    for c, member in enumerate(members):
        rows = slice(c * arms, (c + 1) * arms)
        if previous is not None and _group_key(member) == _group_key(previous):
            rows = slice(groups.pop().rows.start, rows.stop)
        groups.append(Group(rows, member.schedule, member.settings))
        previous = member
    return groups


def _every(state: State, step: int) -> State:
    """Return the networks 0, step, 2 * step, ... of a state, as views."""

    def take(tensors: Tensors) -> Tensors:
        return {name: value[::step] for name, value in tensors.items()}

    return State(take(state.params), take(state.buffers), take(state.masks))
