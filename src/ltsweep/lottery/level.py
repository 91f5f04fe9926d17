"""One level of a stack: train, score, measure, and yield a checkpoint when one is due."""

import dataclasses
import itertools
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence

import torch

from ltsweep.engine.look import Look
from ltsweep.engine.ranks import agreed, part
from ltsweep.engine.stack import Network
from ltsweep.engine.train import Group, Schedule, scored, snapshot, train
from ltsweep.lottery.ended import Ended
from ltsweep.lottery.program import Checkpoint, Member, Program, Progress, Tables
from ltsweep.lottery.rows import evaluation_rows, measured, newest, until_diverged
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

    Adds to `tables` a row for each network at each evaluation, and a row for each reading of a measurement. A network
    whose level ends early is trained along, since its neighbours would otherwise go on as another program. Its rows end
    there, and after the level it has the weights that it had there.
    """
    state, steps, problem, method = look.state, program.steps, program.problem, program.method
    rates = [member.rates for member in members for _ in arms]
    trained = method.trained(network, look.level, rates)
    groups = optimizer_groups(members, len(arms), look.level, method)
    draws = [member.draws(program, look.level, arms) for member in members]
    first = method.first(look.level, program.length)
    kept = program.kept(look.level) if arms[0] == TICKET else ()
    networks, names = len(members) * len(arms), measured(problem)
    total = sum(math.prod(layer.shape) for layer in program.layers)
    state.memory.update(trained.memory(draws, program.device))
    start, tensors, before = (
        (checkpoint.step, checkpoint.tensors, checkpoint.seconds) if checkpoint else (first, None, 0.0)
    )
    ended = Ended(checkpoint.tensors if checkpoint else {})

    def measure(moment: Moment, step: int, over: Collection[int] = ()) -> None:
        now = dataclasses.replace(look, iteration=step)
        found = list(readings(program.measurements, moment, now)) if program.measurements else []
        for c, member in enumerate(members):
            rows, table = reading_rows(found, now, arms, c), tables[member.key]
            if moment == "end":
                last = {(arm.name, arm.draw): newest(table.evaluations, arm)["iteration"] for arm in arms}
                rows = [{**row, "iteration": last[row["arm"], row["draw"]]} for row in rows]
            gone = [(arm.name, arm.draw) for place, arm in enumerate(arms) if c * len(arms) + place in over]
            table.readings.extend(row for row in rows if (row["arm"], row["draw"]) not in gone)

    def keep(step: int) -> None:
        if step in kept:
            for c, member in enumerate(members):
                weights = ended.weights(c * len(arms), state)
                names = [*member.initial, *(f"{SCORE_OF}{name}" for name in state.scores)]
                ticket = {name: weights[name].detach().cpu().clone() for name in names}
                tables[member.key].kept[step] = ticket

    def evaluate(step: int, rates: Sequence[float | None], seconds: float) -> Progress:
        splits = program.splits_due(step, first)
        counts = [torch.count_nonzero(mask.flatten(1), dim=1) for mask in state.masks.values()]  # each (C,)
        remaining = torch.stack(counts).sum(0).tolist()
        forward = scored(network, trained, state)
        scores = agreed(lambda: problem.evaluate(forward, state.memory, draws, splits))
        over = ended.networks
        for c, member in enumerate(members):
            rows = evaluation_rows(
                arms,
                names,
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
            own = enumerate(rows, start=c * len(arms))
            tables[member.key].evaluations.extend(row for number, row in own if number not in over)
        if program.stop:
            for c in range(networks):
                if c not in over and program.stop(scores, c):
                    ended.end(c, state)
        measure("evaluation" if step > first else "start", step, over)
        return Progress(look.level, step, {key: newest(table.evaluations, arms[0]) for key, table in tables.items()})

    def all_over() -> bool:
        over = ended.networks
        return all(
            until_diverged(tables[member.key].evaluations)[1]
            or over.issuperset(range(c * len(arms), (c + 1) * len(arms)))
            for c, member in enumerate(members)
        )

    if checkpoint is None:
        yield evaluate(first, [None] * len(members), 0.0)
        keep(first)
    if first < steps and not all_over():
        batches = problem.batches(draws, program.batch_size, start, part())
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
                if all_over():
                    break
            save = step % program.steps_per_epoch == 0 or now - saved_at >= program.checkpoint_every
            if save and step < steps:
                saved_at = now
                held = snapshot(network, state, optimizer) | ended.tensors
                yield Checkpoint(look.level, tuple(arms), step, now - began, dict(tables), held)
    if ended.networks:
        ended.restore(state)
        trained.after_step(trained.leaves(state), state)  # the masks are those of the scores again
        for step in kept:
            if any(step not in tables[member.key].kept for member in members):
                keep(step)
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
