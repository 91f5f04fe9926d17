"""Examples with labels, wherever they lie: who sees which of them in what order, and how they are scored.

Letters: C networks of a stack, B examples a batch, N examples of a split, T labels of an example, K classes. An example
with a label of its own has no axis T: its labels are (N,), its logits (C, B, K).
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ltsweep.engine.problem import Asked, Draws, Score
from ltsweep.engine.stack import Forward, Tensors
from ltsweep.errors import UserError
from ltsweep.rng import generator
from ltsweep.schema import SPLITS

LOSS, ACCURACY = Score("loss", "lower"), Score("accuracy", "higher")


class Labelled(ABC):
    """What problems of examples with labels have in common. The loss is the mean cross-entropy over labels, in nats.

    A subclass has the labels, int64 (N,) or (N, T), and says how networks see examples: `batches`, `loss` and `_score`.
    label_smoothing: the share of each label spread over all classes (Szegedy et al. 2016), in training and in no score.
    held_out: booleans (N,), true for the training examples that are validation examples whatever the seed; None where
    the seed draws them.
    """

    train_y: Tensor
    test_y: Tensor
    label_smoothing: float
    held_out: Tensor | None = None

    scores: tuple[Score, ...] = (LOSS, ACCURACY)
    headline: Score = ACCURACY
    counts: ClassVar[tuple[str, ...]] = ()

    def check(self, asked: Asked) -> None:
        """Raise UserError where a cell asks for more examples than there are, or a part of a batch would be empty."""
        sample, test = asked.evaluate_train, asked.evaluate_test
        check_batches(self, asked.dataset, asked.batch_size, asked.validation, sample, test)
        last = (len(self.train_y) - asked.validation) % asked.batch_size
        if 0 < last < asked.processes:
            raise UserError(
                f"the last batch of an epoch has {last} of {asked.batch_size} examples, fewer than torchrun's "
                f"{asked.processes} processes; validation={asked.validation + last} leaves it out"
            )

    def epoch(self, batch_size: int, validation: int) -> int:
        """Return the number of batches that hold each training example once; the last batch may be smaller."""
        return math.ceil((len(self.train_y) - validation) / batch_size)

    def memory(self, cells: Sequence[Draws], batch_size: int) -> Tensors:
        """Return nothing: a step changes weights alone."""
        return {}

    def _orders(self, every: Sequence[tuple[Draws, str]]) -> Iterator[list[Tensor]]:
        """Yield for each epoch, without end, the indices of each cell's training examples in each of its orders."""
        mine = [(~self._held_out(cell)).nonzero().flatten() for cell, _ in every]
        streams = [cell.generator(order, "order") for cell, order in every]
        while True:
            yield [kept[torch.randperm(len(kept), generator=rng)] for kept, rng in zip(mine, streams, strict=True)]

    def _mean_loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each network, (C,), for logits (C, B, T, K) and labels (C, B, T)."""
        each = cross_entropy(logits.flatten(0, -2), y.flatten(), reduction="none", label_smoothing=self.label_smoothing)
        return each.view(len(y), -1).mean(1)

    @torch.no_grad()
    def evaluate(
        self, forward: Forward, memory: Tensors, cells: Sequence[Draws], splits: Collection[str] = SPLITS
    ) -> dict[str, list[float]]:
        """Return each split's mean cross-entropy, and its share of labels that have the largest logit.

        Pictures are not augmented. The networks see the training and test examples together. Of the training set each
        may also see its own examples alone, which are far fewer: its sample, and those held out.
        """
        held_out = self._of_networks([self._held_out(cell) for cell in cells], cells)  # (C, N)
        scored: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

        def score_own(split: str, own: Tensor) -> None:
            loss, right = self._score(forward, "train", own)
            scored[split] = (loss, right, torch.ones_like(right, dtype=torch.bool))

        if "train" in splits and cells[0].sample is None:
            loss, right = self._score(forward, "train")
            scored |= {"train": (loss, right, ~held_out), "val": (loss, right, held_out)}
        else:
            if "train" in splits:
                score_own("train", self._of_networks([self._sample(cell) for cell in cells], cells))
            if "val" in splits:
                score_own("val", held_out.nonzero()[:, 1].view(len(held_out), cells[0].validation))
        if "test" in splits:
            loss, right = self._score(forward, "test")
            scored |= {"test": (loss, right, torch.ones_like(right, dtype=torch.bool))}
        scores = {}
        for split, (loss, right, chosen) in scored.items():
            count = chosen.sum(1)  # (C,)
            # torch.where, not a product: a nan outside the split must not enter the sum.
            scores[f"{split}_loss"] = (torch.where(chosen, loss, 0).sum(1, dtype=torch.float64) / count).tolist()
            scores[f"{split}_accuracy"] = (torch.where(chosen, right, 0).sum(1, dtype=torch.float64) / count).tolist()
        return {name: values for name, values in scores.items() if name.partition("_")[0] in splits}

    def _held_out(self, cell: Draws) -> Tensor:
        return _split(cell.seed, cell.validation, len(self.train_y)) if self.held_out is None else self.held_out

    def _sample(self, cell: Draws) -> Tensor:
        kept = (~self._held_out(cell)).nonzero().flatten()
        return kept[_sample(cell.seed, len(kept), cell.sample or 0)]

    def _of_networks(self, each: Sequence[Tensor], cells: Sequence[Draws]) -> Tensor:
        """Return a row for each network, (C, ...), on the device of the examples; `each` has one for each cell."""
        networks = torch.tensor([cell.networks for cell in cells])
        return torch.stack(list(each)).repeat_interleave(networks, dim=0).to(self.train_y.device)

    @abstractmethod
    def _score(self, forward: Forward, split: str, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return each network's loss on each example, (C, N), and the share of its labels that are right, (C, N).

        split: train or test. own: indices of the examples that each network sees, (C, N), in place of all.
        """


def score(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each example the mean loss of its labels, and the share of them with the largest logit, (C, B) each.

    logits: (C, B, T, K). labels: (C, B, T).
    """
    losses = cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none").view_as(labels)
    right = (logits.argmax(-1) == labels).to(losses.dtype)
    losses, right = (each.reshape(*labels.shape[:2], -1).mean(2) for each in (losses, right))
    return losses, right


def chosen_of_test(examples: int, count: int) -> Tensor:
    """Return the indices, (count,), of the test examples that are scored, the same ones for all cells."""
    return torch.randperm(examples, generator=generator(0, "evaluate_test"))[:count]


# Splits and samples kept, since every evaluation asks for its cells' again; 256 of MNIST's splits take 15 MB.
@functools.lru_cache(maxsize=256)
def _split(seed: int, validation: int, examples: int) -> Tensor:
    """Return a cell's validation split: booleans (N,), true for a training example that is held out."""
    held_out = torch.zeros(examples, dtype=torch.bool)
    order = torch.randperm(examples, generator=generator(seed, "validation"))
    held_out[order[:validation]] = True
    return held_out


@functools.lru_cache(maxsize=256)
def _sample(seed: int, examples: int, count: int) -> Tensor:
    """Return places, (count,), among the examples that are not held out: those by which a cell is scored."""
    return torch.randperm(examples, generator=generator(seed, "evaluate_train"))[:count]


def check_batches(
    data: Labelled, name: str, batch_size: int, validation: int, sample: bool | int = True, test: int | None = None
) -> None:
    """Raise UserError where a config asks for more examples than data set `name` has.

    sample: as `evaluate_train`, the number of training examples that are scored, or whether all are. test: as
    `evaluate_test`, the number of test examples that are scored, None for all.
    """
    examples = len(data.train_y)
    if data.held_out is not None and validation != (brought := int(data.held_out.sum())):
        raise UserError(
            f"validation={validation}: {name} brings {brought} validation examples of its own; validation={brought}"
        )
    left = examples - validation
    if left < 1:
        raise UserError(f"validation={validation} leaves nothing to train on: {name} has {examples} examples")
    if batch_size > left:
        raise UserError(f"batch_size={batch_size} is more than the {left} training examples of {name}")
    if sample > left:
        raise UserError(f"evaluate_train={sample} is more than the {left} training examples of {name}; true scores all")
    if (test or 0) > len(data.test_y):
        raise UserError(
            f"evaluate_test={test} is more than the {len(data.test_y)} test examples of {name}; null scores all"
        )
