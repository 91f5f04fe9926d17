"""The arguments of the loop over levels, Program and Member, and the events that it yields."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from ltsweep.engine.problem import Draws, Problem
from ltsweep.engine.stack import Tensors
from ltsweep.engine.train import MakeOptimizer, Schedule
from ltsweep.init import Init
from ltsweep.lottery.rows import Row
from ltsweep.lottery.stop import Stop
from ltsweep.measure.reading import Measurement
from ltsweep.method.axes import Arm, Length, Method, Past, Rates, nothing_kept
from ltsweep.prune import Layer
from ltsweep.schema import SPLITS, TWIN


@dataclass(frozen=True)
class Program:
    """The part of a stack that all its cells share.

    done: arm, as status.json names it -> the last level that every cell has of it already, and which is not trained.
    keep: steps of level 0 whose weights are kept for other cells, beside those that the method keeps.
    """

    model: nn.Module
    layers: Sequence[Layer]
    problem: Problem
    method: Method
    make_optimizer: MakeOptimizer
    levels: int
    steps: int  # a level
    steps_per_epoch: int
    evaluate_every: int | None  # steps; None: as `splits_due` says
    batch_size: int
    validation: int  # examples
    checkpoint_every: float  # seconds
    device: torch.device
    precision: str = "float32"
    clip: float | None = None  # largest norm of a network's gradient
    evaluate_train: bool | int = True  # all training examples are scored, none, or so many
    stop: Stop | None = None  # ends a network's level early
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    done: Mapping[str, int] = field(default_factory=dict)
    keep: Collection[int] = ()

    @property
    def length(self) -> Length:
        """Return the optimizer steps of a level and of an epoch."""
        return Length(self.steps, self.steps_per_epoch)

    def kept(self, level: int) -> set[int]:
        """Return the steps of a level after which the ticket's weights are kept."""
        return {*self.method.keep(level, self.length), *(self.keep if level == 0 else ())}

    def arms(self, level: int) -> list[Arm]:
        """Return the arms that a level trains, the ticket first if it is among them; none where all cells have all."""
        return [arm for arm in self.method.arms(level) if self.done.get(str(arm), -1) < level]

    def splits_due(self, step: int, first: int = 0) -> tuple[str, ...]:
        """Return the splits to score after `step` steps of a level that begins with step `first`.

        Every `evaluate_every` steps all of them. By default validation and test four times an epoch, which places the
        early stop of a problem that has one, and the training set, which costs most, at the end of each epoch. All
        before the first step and after the last. With `evaluate_train=false` never the training set.
        """
        ends = self.evaluate_every or self.steps_per_epoch
        if step % ends == 0 or step in (first, self.steps):
            return SPLITS if self.evaluate_train else SPLITS[1:]
        quarters = 4 * step // self.steps_per_epoch - 4 * (step - 1) // self.steps_per_epoch
        return SPLITS[1:] if self.evaluate_every is None and quarters and self._stops_early else ()

    @functools.cached_property
    def _stops_early(self) -> bool:
        """Return whether validation has a loss, whose minimum is the early stop."""
        return any(score.name == "loss" and "val" in score.splits for score in self.problem.scores)


@dataclass(frozen=True)
class Member:
    """One cell's own part of a stack.

    recorded: level -> the masks that earlier runs left for it, or None: from these the cell begins the level, whatever
    the level before leaves in this run. kept: level and step -> the weights and buffers that earlier runs kept.
    dense: level 0 of another cell, which is this cell's too and is not trained again; its last step is kept.
    group: equal for cells whose configs have the same learning-rate schedule and optimizer; sortable.
    """

    key: str
    seed: int
    init: Init
    schedule: Schedule
    group: tuple[float, float, str]
    settings: dict[str, float]  # of its optimizer group: weight decay
    rates: Rates
    initial: Tensors
    recorded: Callable[[int], Tensors | None] = lambda level: None
    dense: "Tables | None" = None
    kept: Callable[[int, int], Tensors] = nothing_kept

    def draws(self, program: Program, level: int, arms: Sequence[Arm]) -> Draws:
        """Return the source of the cell's random numbers at a level."""
        sample = None if isinstance(program.evaluate_train, bool) else program.evaluate_train
        orders = tuple(str(arm) if arm.name == TWIN else "" for arm in arms)
        return Draws(self.seed, level, program.validation, len(arms), sample, orders if any(orders) else ())

    def past(
        self, program: Program, level: int, masks: Tensors, kept: Callable[[int, int], Tensors] = nothing_kept
    ) -> Past:
        """Return all that the cell's level may start from."""
        return Past(program.model, self.init, self.seed, level, self.initial, masks, program.length, kept, self.rates)


@dataclass(frozen=True)
class Progress:
    """The progress of a stack after an evaluation.

    rows: key -> the newest row of the cell's first arm, which is the ticket where that is trained.
    """

    level: int
    steps_done: int
    rows: dict[str, Row]


@dataclass(frozen=True)
class Tables:
    """The rows of one cell's level so far, and step -> the ticket's weights and buffers that its method keeps."""

    evaluations: list[Row] = field(default_factory=list)
    readings: list[Row] = field(default_factory=list)
    kept: dict[int, Tensors] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A stack in the middle of a level: enough to resume as if it had never stopped.

    arms: those that the level trains. tables: key -> the level's rows so far. seconds: its training time so far.
    """

    level: int
    arms: tuple[Arm, ...]
    step: int
    seconds: float
    tables: dict[str, Tables]
    tensors: Tensors


@dataclass(frozen=True)
class LevelDone:
    """One cell's finished level: its rows, and the next level's masks (None after a divergence or without a ticket).

    kept: step -> the ticket's weights and buffers there. learned: this level's own masks where the level has learned
    them; there are then none of the next.
    """

    key: str
    level: int
    evaluations: list[Row]
    readings: list[Row]
    summaries: list[Row]
    next_masks: Tensors | None
    diverged: bool
    kept: Mapping[int, Tensors] = field(default_factory=dict)
    learned: Tensors | None = None
