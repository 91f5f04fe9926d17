"""What is learned, as the engine sees it: batches to a loss, and a state to scores.

Letters: C networks of a stack, B examples a batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from ltsweep.engine.stack import Forward, Tensors

# All that one optimizer step depends on besides the state, each tensor with the leading axis C: indices of examples.
Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Score:
    """What a problem measures of a network on each split, such as accuracy, and which end of it is better."""

    name: str
    better: Literal["higher", "lower"]


@dataclass(frozen=True)
class Draws:
    """What a cell's random numbers depend on at a level, and how many networks share them: its ticket and controls.

    validation: how many examples are held out of training.
    """

    seed: int
    level: int
    validation: int
    networks: int


class Problem(Protocol):
    """What the networks of a stack learn. Its random numbers come from each cell's own streams alone."""

    scores: ClassVar[tuple[Score, ...]]  # of each split, in the order of the columns
    headline: ClassVar[Score]  # by which validation chooses the best model

    def to(self, device: torch.device) -> "Problem":
        """Return the problem with its tensors on a device."""
        ...

    def epoch(self, batch_size: int, validation: int) -> int:
        """Return the optimizer steps of one epoch."""
        ...

    def memory(self, cells: Sequence[Draws], batch_size: int) -> Tensors:
        """Return what a step changes besides weights, name -> (C, ...); nothing for examples."""
        ...

    def batches(self, cells: Sequence[Draws], batch_size: int) -> Iterator[Batch]:
        """Yield batches for ever, drawn from the cells' streams; the same ones for the same cells."""
        ...

    def loss(self, forward: Forward, memory: Tensors, batch: Batch) -> Tensor:
        """Return the loss of each network, (C,). It is recorded, so it reads no number back."""
        ...

    def evaluate(self, forward: Forward, memory: Tensors, cells: Sequence[Draws]) -> dict[str, list[float]]:
        """Return C numbers for each `{split}_{score}`; nan for a split that holds nothing."""
        ...
