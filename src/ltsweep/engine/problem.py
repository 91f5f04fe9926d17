"""The problem that a stack learns, as the engine sees it: batches, their loss, and the scores of the networks.

Letters: C networks of a stack, B examples a batch.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from ltsweep.engine.stack import Forward, Tensors
from ltsweep.rng import generator

# The input of one optimizer step besides the state. Each tensor has the leading axis C; for examples, their indices.
Batch = tuple[Tensor, ...]


class Part(NamedTuple):
    """The part of each batch's examples that a process takes, of so many parts that are as equal as can be."""

    number: int  # from 0 on
    of: int

    def take(self, examples: Tensor, dim: int = 1) -> Tensor:
        """Return the part of a tensor with an axis of examples."""
        return examples.tensor_split(self.of, dim)[self.number]


ALL = Part(0, 1)


@dataclass(frozen=True)
class Score:
    """A number that a problem measures of a network, such as accuracy, and which end of it is better.

    splits: those on which it is measured, `{split}_{name}` in the tables.
    """

    name: str
    better: Literal["higher", "lower"]
    splits: tuple[str, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Asked:
    """What a cell asks of its data set, by the names of its config.

    processes: those of torchrun, each of which takes a part of every batch.
    """

    dataset: str
    input_shape: Sequence[int]
    num_classes: int
    batch_size: int
    validation: int
    evaluate_train: bool | int = True
    evaluate_test: int | None = None
    label_smoothing: float = 0.0
    processes: int = 1


@dataclass(frozen=True)
class Draws:
    """The source of a cell's random numbers at a level, and how many networks share them: the ticket and its controls.

    validation: number of examples held out of training. sample: number of the others by which the training set is
    scored, a fixed choice of the cell's; None for all. orders: for each network the name of the order in which it sees
    its examples; networks of one name share all numbers of a step, and without names all do.
    """

    seed: int
    level: int
    validation: int
    networks: int
    sample: int | None = None
    orders: tuple[str, ...] = ()

    def generator(self, order: str, *purpose: str | int) -> torch.Generator:
        """Return the generator of an order at this level; that without a name has the streams of the cell alone."""
        return generator(self.seed, *purpose, self.level, *([order] if order else []))


def by_order(cells: Sequence[Draws]) -> tuple[list[tuple[Draws, str]], Tensor]:
    """Return each cell with each name of an order, and for each network the place of its own among them, (C,)."""
    every: list[tuple[Draws, str]] = []
    places: list[int] = []
    for cell in cells:
        names = cell.orders or ("",) * cell.networks
        first = {name: len(every) + place for place, name in enumerate(dict.fromkeys(names))}
        every += [(cell, name) for name in first]
        places += [first[name] for name in names]
    return every, torch.tensor(places)


class Problem(Protocol):
    """A problem that the networks of a stack learn. Its random numbers come from each cell's own streams alone."""

    @property
    def scores(self) -> tuple[Score, ...]:
        """Return what is measured, in the order of the columns: a training loss, by which a cell diverges, and other
        scores of all splits.
        """
        ...

    @property
    def headline(self) -> Score:
        """Return the score whose best validation value marks the best model; test data have it too."""
        ...

    @property
    def counts(self) -> tuple[str, ...]:
        """Return the names, of `schema.COUNTS`, of what is counted while networks train; none for examples."""
        ...

    def check(self, asked: Asked) -> None:
        """Raise UserError where a cell asks for what the problem has not, in one line that says what it has."""
        ...

    def to(self, device: torch.device) -> "Problem":
        """Return the problem with its tensors on a device."""
        ...

    def epoch(self, batch_size: int, validation: int) -> int:
        """Return the number of optimizer steps in an epoch."""
        ...

    def memory(self, cells: Sequence[Draws], batch_size: int) -> Tensors:
        """Return the tensors besides weights that a step changes, name -> (C, ...); empty for examples."""
        ...

    def batches(self, cells: Sequence[Draws], batch_size: int, first: int = 0, part: Part = ALL) -> Iterator[Batch]:
        """Yield batches without end, drawn from the cells' streams, from number `first` on, or a part of each.

        The same cells give the same batches, whatever the first of them, and the part, that is asked for.
        """
        ...

    def ones(self) -> Tensor:
        """Return one example whose every input is 1, (1, *shape)."""
        ...

    def loss(self, forward: Forward, memory: Tensors, batch: Batch) -> Tensor:
        """Return the loss of each network, (C,). The call is recorded, so it reads no number back (no `.item()`)."""
        ...

    def evaluate(
        self, forward: Forward, memory: Tensors, cells: Sequence[Draws], splits: Collection[str]
    ) -> dict[str, list[float]]:
        """Return C numbers for each `{split}_{score}` of some of train, val and test, and for each of `counts`.

        nan for an empty split. Where the problem has no loss on test data, `train_loss` comes with any split.
        """
        ...
