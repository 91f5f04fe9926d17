"""The lottery-ticket loop (Frankle & Carbin 2019, section 2): train, evaluate, prune, rewind, level after level."""

import dataclasses
from collections.abc import Iterator, Sequence

import torch

from ltsweep.engine.look import Look
from ltsweep.engine.noise import streams
from ltsweep.engine.stack import Network, Tensors
from ltsweep.lottery.level import train_level
from ltsweep.lottery.program import Checkpoint, LevelDone, Member, Program, Progress, Tables
from ltsweep.lottery.rows import layer_counts, summaries, until_diverged
from ltsweep.method.axes import TICKET, Arm


def run_levels(
    program: Program, members: Sequence[Member], first: int, checkpoint: Checkpoint | None = None
) -> Iterator[Progress | Checkpoint | LevelDone]:
    """Run the levels from `first` on for all `members` together. A cell that diverges leaves at the end of its level.

    Inside the level it stays, since its neighbours would otherwise go on as another program. If every cell of the stack
    has diverged, the level ends at once. The rows of a cell end where it diverged.

    A level trains the arms that some cell lacks; one that lacks none is passed over. A cell with recorded masks of the
    next level stays in the stack whatever becomes of it in this one.

    The level resumes from `checkpoint` if that is of level `first`, its arms and the same members, else from nothing.
    """
    network, method = Network(program.model, program.precision), program.method
    alive = sorted(members, key=lambda member: member.group)  # neighbours share an optimizer group
    dense = {m.key: {layer.name: torch.ones_like(m.initial[layer.name]) for layer in program.layers} for m in alive}
    pruned: dict[str, Tensors] = {}  # key -> the masks that the level before left
    for level in range(first, program.levels + 1):
        arms = program.arms(level)
        if not arms:
            continue
        masks = {m.key: m.recorded(level) or pruned.get(m.key, dense[m.key]) for m in alive}
        starts = [method.start(arm, m.past(program, level, masks[m.key])) for m in alive for arm in arms]
        state = network.stack([weights for weights, _ in starts], [mask for _, mask in starts], program.device)
        draws = [member.draws(program, level, arms) for member in alive]
        state.memory.update(program.problem.memory(draws, program.batch_size))
        state.buffers.update(streams(program.model, draws, program.device))
        look = Look(level, 0, state, [weights for weights, _ in starts])
        if checkpoint and not _fits(checkpoint, level, arms, alive):
            checkpoint = None
        tables = checkpoint.tables if checkpoint else {member.key: Tables() for member in alive}
        yield from train_level(program, network, look, alive, arms, tables, checkpoint)

        firsts = dataclasses.replace(look, iteration=program.steps).every(len(arms))
        rates = [member.rates for member in alive]
        following = method.prune(firsts, rates) if arms[0] == TICKET else None  # the ticket is each cell's first arm
        survivors = []
        for c, member in enumerate(alive):
            table, diverged = until_diverged(tables[member.key].evaluations)
            read = [row for row in tables[member.key].readings if row["iteration"] <= table[-1]["iteration"]]
            if following is not None:
                pruned[member.key] = {name: mask[c].cpu() for name, mask in following.items()}
            next_masks = pruned[member.key] if following is not None and not diverged else None
            summary = summaries(table, layer_counts(firsts.state, c, program.layers))
            yield LevelDone(member.key, level, table, read, summary, next_masks, diverged)
            if not diverged or (level < program.levels and member.recorded(level + 1) is not None):
                survivors.append(member)
        alive = survivors
        if not alive:
            return


def _fits(checkpoint: Checkpoint, level: int, arms: Sequence[Arm], members: Sequence[Member]) -> bool:
    """Return whether a checkpoint is of this level, arms and members."""
    same = checkpoint.level == level and checkpoint.arms == tuple(arms)
    return same and list(checkpoint.tables) == [member.key for member in members]
