"""The arguments of the loop over levels, Program and Member, and the events that it yields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from ltsweep.engine.problem import Draws, Problem
from ltsweep.engine.stack import Tensors
from ltsweep.engine.train import MakeOptimizer, Schedule
from ltsweep.init import Init
from ltsweep.lottery.rows import Row
from ltsweep.measure.reading import Measurement
from ltsweep.method.axes import Arm, Method, Past, Rates
from ltsweep.prune import Layer


@dataclass(frozen=True)
class Program:
    """The part of a stack that all its cells share."""

    model: nn.Module
    layers: Sequence[Layer]
    problem: Problem
    method: Method
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
    measurements: Mapping[str, Measurement] = field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """One cell's own part of a stack, with the masks of the first level of the run.

    later: level -> masks with which the cell begins that level, whatever the levels of the run before leave.
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
    masks: Tensors
    later: Mapping[int, Tensors] = field(default_factory=dict)

    def draws(self, program: Program, level: int, arms: Sequence[Arm]) -> Draws:
        """Return the source of the cell's random numbers at a level."""
        return Draws(self.seed, level, program.validation, len(arms))

    def past(self, program: Program, level: int, masks: Tensors) -> Past:
        """Return all that the cell's level may start from."""
        return Past(program.model, self.init, self.seed, level, self.initial, masks)


@dataclass(frozen=True)
class Progress:
    """The progress of a stack after an evaluation, with the newest row of each cell's ticket, by the cell's key."""

    level: int
    steps_done: int
    tickets: dict[str, Row]


@dataclass(frozen=True)
class Tables:
    """The rows of one cell's level so far."""

    evaluations: list[Row] = field(default_factory=list)
    readings: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """A stack in the middle of a level: enough to resume as if it had never stopped.

    tables: key -> the level's rows so far. seconds: the level's training time so far.
    """

    level: int
    step: int
    seconds: float
    tables: dict[str, Tables]
    tensors: Tensors


@dataclass(frozen=True)
class LevelDone:
    """One cell's finished level: its rows, and the next level's masks (None after the last level or a divergence)."""

    key: str
    level: int
    evaluations: list[Row]
    readings: list[Row]
    summaries: list[Row]
    next_masks: Tensors | None
    diverged: bool
