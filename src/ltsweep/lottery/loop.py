"""The lottery-ticket loop (Frankle & Carbin 2019, section 2): train, evaluate, prune, rewind, level after level."""

import dataclasses
from collections.abc import Iterator, Sequence

from ltsweep.engine.look import Look
from ltsweep.engine.stack import Network
from ltsweep.lottery.level import train_level
from ltsweep.lottery.program import Checkpoint, LevelDone, Member, Program, Progress, Tables
from ltsweep.lottery.rows import layer_counts, summaries, until_diverged


def run_levels(
    program: Program, members: Sequence[Member], first: int, checkpoint: Checkpoint | None = None
) -> Iterator[Progress | Checkpoint | LevelDone]:
    """Run the levels from `first` on for all `members` together. A cell that diverges leaves at the end of its level.

    Inside the level it stays, since its neighbours would otherwise go on as another program. If every cell of the stack
    has diverged, the level ends at once. The rows of a cell end where it diverged.

    A cell with masks of a later level only trains along until then, and stays in the stack.

    The level resumes from `checkpoint` if that is of level `first` and of the same members; any other is ignored.
    """
    network, method = Network(program.model, program.precision), program.method
    alive = sorted(members, key=lambda member: member.group)  # neighbours share an optimizer group
    masks = {member.key: member.masks for member in alive}
    for level in range(first, program.levels + 1):
        arms = method.arms(level)
        masks |= {member.key: member.later[level] for member in alive if level in member.later}
        starts = [method.start(arm, m.past(program, level, masks[m.key])) for m in alive for arm in arms]
        state = network.stack([weights for weights, _ in starts], [mask for _, mask in starts], program.device)
        draws = [member.draws(program, level, arms) for member in alive]
        state.memory.update(program.problem.memory(draws, program.batch_size))
        look = Look(level, 0, state, [weights for weights, _ in starts])
        if checkpoint and (checkpoint.level != level or list(checkpoint.tables) != [m.key for m in alive]):
            checkpoint = None
        tables = checkpoint.tables if checkpoint else {member.key: Tables() for member in alive}
        yield from train_level(program, network, look, alive, arms, tables, checkpoint)

        # The ticket is each cell's first arm.
        tickets = dataclasses.replace(look, iteration=program.steps).every(len(arms))
        pruned = method.prune(tickets, [member.rates for member in alive])
        survivors = []
        for c, member in enumerate(alive):
            table, diverged = until_diverged(tables[member.key].evaluations)
            read = [row for row in tables[member.key].readings if row["iteration"] <= table[-1]["iteration"]]
            last = level == program.levels or (diverged and max(member.later, default=0) <= level)
            next_masks = None if last else {name: mask[c].cpu() for name, mask in pruned.items()}
            summary = summaries(table, layer_counts(tickets.state, c, program.layers))
            yield LevelDone(member.key, level, table, read, summary, next_masks, diverged)
            if next_masks is not None:
                masks[member.key] = next_masks
                survivors.append(member)
        alive = survivors
        if not alive:
            return
