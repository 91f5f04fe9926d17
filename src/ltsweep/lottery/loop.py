"""The lottery-ticket loop (Frankle & Carbin 2019, section 2): train, evaluate, prune, rewind, level after level."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from ltsweep.engine.look import Look, Stage
from ltsweep.engine.noise import streams
from ltsweep.engine.stack import Network, Tensors
from ltsweep.lottery.level import train_level
from ltsweep.lottery.program import Checkpoint, LevelDone, Member, Program, Progress, Tables
from ltsweep.lottery.rows import layer_counts, measured, summaries, until_diverged
from ltsweep.method.axes import TICKET, Arm


def run_levels(
    program: Program, members: Sequence[Member], first: int, checkpoint: Checkpoint | None = None
) -> Iterator[Progress | Checkpoint | LevelDone]:
    """Run the levels from `first` on for all `members` together. A cell that diverges leaves at the end of its level.

    Inside the level it stays, since its neighbours would otherwise go on as another program. If every cell of the stack
    has diverged, the level ends at once. The rows of a cell end where it diverged.

    A level trains the arms that some cell lacks; one that lacks none is passed over. A cell with recorded masks of the
    next level stays in the stack whatever becomes of it in this one.

    Level 0 is not trained where all cells have it of another cell.

    The level resumes from `checkpoint` if that is of level `first`, its arms and the same members, else from nothing.
    """
    network, method = Network(program.model, program.precision), program.method
    alive = sorted(members, key=lambda member: member.group)  # neighbours share an optimizer group
    dense = {m.key: unpruned(program, m) for m in alive}
    pruned: dict[str, Tensors] = {}  # key -> the masks that the level before left
    kept: dict[tuple[str, int, int], Tensors] = {}  # key, level, step -> the ticket's weights and buffers of this run

    def kept_of(member: Member, level: int, step: int) -> Tensors:
        here = kept.get((member.key, level, step))
        return member.kept(level, step) if here is None else here

    for level in range(first, program.levels + 1):
        arms = program.arms(level)
        if not arms:
            continue
        masks = {m.key: m.recorded(level) or pruned.get(m.key, dense[m.key]) for m in alive}
        look = begin(program, network, alive, level, arms, masks, kept_of)
        state = look.state
        if checkpoint and not _fits(checkpoint, level, arms, alive):
            checkpoint = None
        shared = {m.key: m.dense for m in alive if level == 0 and m.dense}
        if len(shared) == len(alive):
            tables = shared
            look = look.at([tables[m.key].kept[program.steps] for m in alive], state.masks)
        else:
            tables = checkpoint.tables if checkpoint else {member.key: Tables() for member in alive}
            yield from train_level(program, network, look, alive, arms, tables, checkpoint)

        firsts = dataclasses.replace(look, iteration=program.steps).every(len(arms))
        # Of other levels the records have them: in memory stay those that the next level may start from.
        kept = {at: weights for at, weights in kept.items() if at[1] == 0}
        kept |= {(key, level, step): weights for key, one in tables.items() for step, weights in one.kept.items()}
        rates = [member.rates for member in alive]
        ticket = arms[0] == TICKET  # it is each cell's first arm
        following = method.prune(firsts, rates) if ticket else None
        learns = bool(state.scores)  # its masks are those of this level, and otherwise those of the next
        survivors = []
        for c, member in enumerate(alive):
            table, diverged = until_diverged(tables[member.key].evaluations)
            read = [row for row in tables[member.key].readings if row["iteration"] <= table[-1]["iteration"]]
            if following is not None:
                pruned[member.key] = {name: mask[c].cpu() for name, mask in following.items()}
            next_masks = pruned[member.key] if following is not None and not diverged else None
            learned = None
            if learns and ticket and not diverged:
                learned = {name: mask[c].cpu() for name, mask in firsts.state.masks.items()}
            counts = layer_counts(firsts.state, c, program.layers)
            summary = summaries(table, counts, measured(program.problem), program.problem.headline)
            own = {step: tables[member.key].kept[step] for step in program.kept(level) & tables[member.key].kept.keys()}
            yield LevelDone(member.key, level, table, read, summary, next_masks, diverged, own, learned)
            if not diverged or (level < program.levels and member.recorded(level + (not learns)) is not None):
                survivors.append(member)
        alive = survivors
        if not alive:
            return


def begin(
    program: Program,
    network: Network,
    members: Sequence[Member],
    level: int,
    arms: Sequence[Arm],
    masks: Mapping[str, Tensors],
    kept: Callable[[Member, int, int], Tensors],
) -> Look:
    """Return the look at a level before its first step.

    masks: key -> the ticket's masks there. kept: member, level and step -> the ticket's weights and buffers there.
    """
    method = program.method
    pasts = [m.past(program, level, masks[m.key], functools.partial(kept, m)) for m in members]
    starts = [method.start(arm, past) for past in pasts for arm in arms]
    held = [start[2] if len(start) > 2 else None for start in starts]
    scores = [start[3] for start in starts if len(start) > 3]
    weights, begun = [start[0] for start in starts], [start[1] for start in starts]
    state = network.stack(weights, begun, program.device, held, scores)
    draws = [member.draws(program, level, arms) for member in members]
    state.memory.update(program.problem.memory(draws, program.batch_size))
    state.buffers.update(streams(program.model, draws, program.device))
    return Look(
        level,
        method.first(level, program.length),
        state,
        weights,
        Stage(network, program.problem, draws),
        functools.partial(_each, members, kept),
        [str(arm) for arm in arms],
    )


def unpruned(program: Program, member: Member) -> Tensors:
    """Return the masks of a cell's dense network, name -> (*shape)."""
    return {layer.name: torch.ones_like(member.initial[layer.name]) for layer in program.layers}


def _each(
    members: Sequence[Member], kept_of: Callable[[Member, int, int], Tensors], level: int, step: int
) -> list[Tensors]:
    return [kept_of(member, level, step) for member in members]


def _fits(checkpoint: Checkpoint, level: int, arms: Sequence[Arm], members: Sequence[Member]) -> bool:
    """Return whether a checkpoint is of this level, arms and members."""
    same = checkpoint.level == level and checkpoint.arms == tuple(arms)
    return same and list(checkpoint.tables) == [member.key for member in members]
