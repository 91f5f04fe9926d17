"""The parts of a method: scores, removal, rewinding and controls, each a function of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from ltsweep import schema
from ltsweep.engine.look import Look
from ltsweep.engine.stack import Network, Tensors
from ltsweep.engine.trained import Trained
from ltsweep.init import Init


@dataclass(frozen=True)
class Arm:
    """A network that a level trains: the ticket, or one draw of a control with as many weights in every layer."""

    name: str
    draw: int = 0

    def __str__(self) -> str:
        """Return the arm as status.json names it."""
        return f"{self.name}/{self.draw}"


TICKET = Arm(schema.TICKET)


@dataclass(frozen=True)
class Past:
    """All that a level of one cell may start from.

    initial: the cell's initial weights and buffers, name -> (*shape). masks: the ticket's masks at this level, name ->
    (*shape). Neither may be changed in place.
    """

    model: nn.Module
    init: Init
    seed: int
    level: int
    initial: Tensors
    masks: Tensors


# Layer name -> share of the surviving weights that one level removes.
Rates = Mapping[str, float]
# The weights and buffers of one network, and its masks.
Start = tuple[Tensors, Tensors]

# The four axes.
Score = Callable[[Look], Tensors]  # a number for each prunable weight, name -> (C, *shape); the lowest are removed
Remove = Callable[[Tensors, Tensors, Sequence[Rates]], Tensors]  # scores, masks and rates to the next masks
Rewind = Callable[[Past], Tensors]  # the weights and buffers from which the ticket starts a level
Control = Callable[[Past, Arm], Start]  # weights and masks from which a control starts a level


class Method(Protocol):
    """How a level starts, what is trained in it, and how its tickets are pruned."""

    def check_rates(self, rates: Rates) -> None:
        """Raise UserError for rates that the method cannot apply."""
        ...

    def arms(self, level: int) -> list[Arm]:
        """Return the arms that `level` trains, the ticket first."""
        ...

    def start(self, arm: Arm, past: Past) -> Start:
        """Return the weights, buffers and masks from which `arm` starts a level."""
        ...

    def trained(self, network: Network) -> Trained:
        """Return the choice of tensors that the optimizer moves."""
        ...

    def prune(self, look: Look, rates: Sequence[Rates]) -> Tensors:
        """Return the next level's masks, name -> (C, *shape), from a look at C trained tickets."""
        ...
