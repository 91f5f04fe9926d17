"""The parts of a method: scores, removal, rewinding and controls, each a function of its own."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from torch import nn

from ltsweep import schema
from ltsweep.engine.look import Look
from ltsweep.engine.stack import Network, Tensors
from ltsweep.engine.trained import Trained
from ltsweep.init import Init
from ltsweep.prune import Layer


@dataclass(frozen=True)
class Arm:
    """A network that a level trains: the ticket, or one draw of a control with as many weights in every layer."""

    name: str
    draw: int = 0

    def __str__(self) -> str:
        """Return the arm as status.json names it."""
        return f"{self.name}/{self.draw}"


TICKET = Arm(schema.TICKET)


# Layer name -> share of the surviving weights that one level removes.
Rates = Mapping[str, float]


class Length(NamedTuple):
    """The optimizer steps of a level, and of an epoch."""

    steps: int
    epoch: int


NO_LENGTH = Length(0, 1)


def nothing_kept(level: int, step: int) -> Tensors:
    """Raise LookupError: a past without kept weights."""
    raise LookupError(f"the weights after step {step} of level {level} are not kept")


@dataclass(frozen=True)
class Past:
    """All that a level of one cell may start from.

    initial: the cell's initial weights and buffers, name -> (*shape). masks: the ticket's masks at this level, name ->
    (*shape). kept: level and step -> the ticket's weights and buffers there, as the method's `keep` asked. rates: the
    cell's pruning rates. None of them may be changed in place.
    """

    model: nn.Module
    init: Init
    seed: int
    level: int
    initial: Tensors
    masks: Tensors
    length: Length = NO_LENGTH
    kept: Callable[[int, int], Tensors] = nothing_kept
    rates: Rates = field(default_factory=dict)


# The weights and buffers of one network, its masks and, if masked weights stay at other values than zero, these values.
# Where scores are trained in place of weights: weights, masks, None and the scores.
Start = tuple[Tensors, Tensors] | tuple[Tensors, Tensors, Tensors] | tuple[Tensors, Tensors, None, Tensors]

Score = Callable[[Look], Tensors]  # a number for each prunable weight, name -> (C, *shape); the lowest are removed
Remove = Callable[[Tensors, Tensors, Sequence[Rates]], Tensors]  # scores, masks and rates to the next masks
Control = Callable[[Past, Arm], Start]  # weights and masks from which a control starts a level


class Rewind(Protocol):
    """Which weights a level starts from, which are kept for that, and at which step its schedule goes on."""

    def keep(self, level: int, length: Length) -> Collection[int]:
        """Return the steps of a level after which the ticket's weights are kept."""
        ...

    def first(self, level: int, length: Length) -> int:
        """Return the step that a level begins with: of its batches, and of its schedule."""
        ...

    def clock(self, level: int, step: int, steps: int) -> int:
        """Return the step at which the schedule of a level's learning rate is read."""
        ...

    def start(self, past: Past) -> Tensors:
        """Return the weights and buffers from which the ticket starts a level, name -> (*shape)."""
        ...


class Method(Protocol):
    """How a level starts, what is trained in it, and how its tickets are pruned."""

    def check(self, layers: Sequence[Layer], rates: Rates, levels: int) -> None:
        """Raise UserError for rates that the method cannot apply, or apply so often."""
        ...

    def check_length(self, length: Length) -> None:
        """Raise UserError for levels that are too short for the method."""
        ...

    def arms(self, level: int) -> list[Arm]:
        """Return the arms that `level` trains, the ticket first."""
        ...

    def keep(self, level: int, length: Length) -> Collection[int]:
        """Return the steps of a level after which the ticket's weights are kept."""
        ...

    def first(self, level: int, length: Length) -> int:
        """Return the step that a level begins with."""
        ...

    def clock(self, level: int, step: int, steps: int) -> int:
        """Return the step at which the schedule of a level's learning rate is read."""
        ...

    def start(self, arm: Arm, past: Past) -> Start:
        """Return the weights, buffers and masks from which `arm` starts a level."""
        ...

    def trained(self, network: Network, level: int, rates: Sequence[Rates]) -> Trained:
        """Return the choice of tensors that the optimizer moves at a level; rates: for each network."""
        ...

    def prune(self, look: Look, rates: Sequence[Rates]) -> Tensors | None:
        """Return the next level's masks, name -> (C, *shape), from a look at C trained tickets.

        None where each level learns its own: they are then in the state of the look.
        """
        ...
