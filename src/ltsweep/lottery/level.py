"""One level of a stack: train, score, measure, and yield a checkpoint when one is due."""

import dataclasses
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence

import torch

from ltsweep.engine.look import Look
from ltsweep.engine.stack import Network
from ltsweep.engine.train import Group, Schedule, scored, snapshot, train
from ltsweep.lottery.program import Checkpoint, Member, Program, Progress, Tables
from ltsweep.lottery.rows import evaluation_rows, newest, until_diverged
from ltsweep.measure.reading import Moment, reading_rows, readings
from ltsweep.method.axes import TICKET, Arm, Method
from ltsweep.schema import SCORE_OF


def train_level(
    program: Program,
    network: Network,
    look: Look,
    members: Sequence[Member],
    arms: Sequence[Arm],
    tables: Mapping[str, Tables],
    checkpoint: Checkpoint | None,
) -> Iterator[Progress | Checkpoint]:
    """Train the state of `look`, a look before the first step, in place for a level.

    Adds to `tables` a row for each network at each evaluation, and a row for each reading of a measurement.
    """
    state, steps, problem, method = look.state, program.steps, program.problem, program.method
    rates = [member.rates for member in members for _ in arms]
    trained = method.trained(network, look.level, rates)
    groups = optimizer_groups(members, len(arms), look.level, method)
    draws = [member.draws(program, look.level, arms) for member in members]
    first = method.first(look.level, program.length)
    kept = program.kept(look.level) if arms[0] == TICKET else ()
    networks = len(members) * len(arms)
    total = sum(math.prod(layer.shape) for layer in program.layers)
    remaining = [sum(int(torch.count_nonzero(mask[c])) for mask in state.masks.values()) for c in range(networks)]
    start, tensors, before = (
        (checkpoint.step, checkpoint.tensors, checkpoint.seconds) if checkpoint else (first, None, 0.0)
    )

    def measure(moment: Moment, step: int) -> None:
        now = dataclasses.replace(look, iteration=step)
        found = list(readings(program.measurements, moment, now)) if program.measurements else []
        for c, member in enumerate(members):
            tables[member.key].readings.extend(reading_rows(found, now, arms, c))

    def keep(step: int) -> None:
        if step in kept:
            for c, member in enumerate(members):
                every = {**state.params, **state.buffers}
                tensors = {name: every[name] for name in member.initial}
                tensors |= {f"{SCORE_OF}{name}": value for name, value in state.scores.items()}
                ticket = {name: value[c * len(arms)].detach().cpu().clone() for name, value in tensors.items()}
                tables[member.key].kept[step] = ticket

    def evaluate(step: int, rates: Sequence[float | None], seconds: float) -> Progress:
        splits = program.splits_due(step, first)
        scores = problem.evaluate(scored(network, trained, state), state.memory, draws, splits)
        for c, member in enumerate(members):
            tables[member.key].evaluations.extend(
                evaluation_rows(
                    arms,
                    scores,
                    c * len(arms),
                    level=look.level,
                    weights_remaining=remaining[c * len(arms)],
                    weights_total=total,
                    epoch=step / program.steps_per_epoch,
                    iteration=step,
                    lr=rates[c],
                    seconds=seconds / networks,
                )
            )
        measure("evaluation" if step > first else "start", step)
        return Progress(look.level, step, {key: newest(table.evaluations, arms[0]) for key, table in tables.items()})

    def have_diverged() -> bool:
        return all(until_diverged(table.evaluations)[1] for table in tables.values())

    if checkpoint is None:
        yield evaluate(first, [None] * len(members), 0.0)
        keep(first)
    if first < steps and not have_diverged():
        batches = itertools.islice(problem.batches(draws, program.batch_size), start, None)
        saved_at = time.perf_counter()
        began = saved_at - before
        make, clip = program.make_optimizer, program.clip
        for step, optimizer in train(
            network, trained, state, problem, batches, make, groups, steps, start, tensors, clip
        ):
            keep(step)
            due = program.splits_due(step)
            if due and program.device.type == "cuda":
                torch.cuda.synchronize(program.device)  # the GPU may still be steps behind
            now = time.perf_counter()
            if due:
                yield evaluate(step, _rates(groups, optimizer, len(members), len(arms)), now - began)
                if have_diverged():
                    break
            save = step % program.steps_per_epoch == 0 or now - saved_at >= program.checkpoint_every
            if save and step < steps:
                saved_at = now
                held = snapshot(network, state, optimizer)
                yield Checkpoint(look.level, tuple(arms), step, now - began, dict(tables), held)
    measure("end", max(row["iteration"] for table in tables.values() for row in table.evaluations))


def optimizer_groups(members: Sequence[Member], arms: int, level: int, method: Method) -> list[Group]:
    """Return one optimizer group for each run of neighbours with the same schedule and optimizer.

    A level reads its schedules at the steps that the method says.
    """

    def by_clock(schedule: Schedule) -> Schedule:
        return lambda step, steps: schedule(method.clock(level, step, steps), steps)

    groups = []
    rows = itertools.groupby(range(len(members)), key=lambda c: members[c].group)
    for places in (list(run) for _, run in rows):
        first = members[places[0]]
        rows_of = slice(places[0] * arms, (places[-1] + 1) * arms)
        groups.append(Group(rows_of, by_clock(first.schedule), first.settings))
    return groups


def _rates(groups: Sequence[Group], optimizer: torch.optim.Optimizer, cells: int, arms: int) -> list[float | None]:
    """Return the learning rate of each cell's last step, read from the optimizer."""
    return [
        _number(settings["lr"])
        for c in range(cells)
        for group, settings in zip(groups, optimizer.param_groups, strict=True)
        if group.rows.start <= c * arms < group.rows.stop
    ]


def _number(rate: float | torch.Tensor) -> float:
    """Return a learning rate as it was written: on a GPU 0.0012 is held as the 32-bit float nearest to it."""
    if not isinstance(rate, torch.Tensor):
        return float(rate)
    return float(str(rate.cpu().numpy())) if rate.dtype == torch.float32 else float(rate)
