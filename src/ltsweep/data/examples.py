"""Examples with labels, whole in memory: the problem of classifying them.

Letters: C networks of a stack, B examples a batch, N examples of a split, K classes.
"""

import functools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ltsweep.engine.problem import Batch, Draws, Score
from ltsweep.engine.replay import as_written, replayed
from ltsweep.engine.stack import Forward, Tensors
from ltsweep.errors import UserError
from ltsweep.rng import generator
from ltsweep.schema import SPLITS


@dataclass(frozen=True)
class Examples:
    """Training and test examples: x (N, *input_shape), y int64 (N,). The loss is the mean cross-entropy, in nats.

    label_smoothing: the share of each label spread over all classes (Szegedy et al. 2016), in training and in no score.
    """

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    label_smoothing: float = 0.0

    scores: ClassVar[tuple[Score, ...]] = (Score("loss", "lower"), Score("accuracy", "higher"))
    headline: ClassVar[Score] = scores[1]

    def map(self, fn: Callable[[Tensor], Tensor]) -> "Examples":
        """Return the examples with `fn` applied to each tensor."""
        train_x, train_y, test_x, test_y = map(fn, (self.train_x, self.train_y, self.test_x, self.test_y))
        return replace(self, train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y)

    def to(self, device: torch.device) -> "Examples":
        """Return the examples on a device."""
        return self.map(lambda tensor: tensor.to(device))

    def epoch(self, batch_size: int, validation: int) -> int:
        """Return the number of batches that hold each training example once; the last batch may be smaller."""
        return math.ceil((len(self.train_y) - validation) / batch_size)

    def memory(self, cells: Sequence[Draws], batch_size: int) -> Tensors:
        """Return nothing: a step changes weights alone."""
        return {}

    def batches(self, cells: Sequence[Draws], batch_size: int) -> Iterator[Batch]:
        """Yield indices (C, B) without end; each epoch has every training example once, in a new order."""
        mine = [(~self._held_out(cell)).nonzero().flatten() for cell in cells]
        orders = [generator(cell.seed, "order", cell.level) for cell in cells]
        networks = torch.tensor([cell.networks for cell in cells])

        def shuffled() -> Sequence[Tensor]:
            each = [kept[torch.randperm(len(kept), generator=rng)] for kept, rng in zip(mine, orders, strict=True)]
            rows = torch.stack(each).repeat_interleave(networks, dim=0)  # (C, N)
            return torch.split(rows.to(self.train_y.device), batch_size, dim=1)

        epoch = shuffled()
        while True:
            yield from ((index,) for index in epoch[:-1])
            last, epoch = epoch[-1], shuffled()  # while a GPU still has steps of this epoch to do
            yield (last,)

    def ones(self) -> Tensor:
        """Return one example whose every input is 1, (1, *input_shape)."""
        return torch.ones_like(self.train_x[:1])

    def loss(self, forward: Forward, memory: Tensors, batch: Batch) -> Tensor:
        """Return each network's mean cross-entropy over its own examples, (C,)."""
        (index,) = batch  # (C, B)
        x = self.train_x.index_select(0, index.flatten()).view(*index.shape, *self.train_x.shape[1:])  # (C, B, *shape)
        y = self.train_y.index_select(0, index.flatten())  # (C * B,)
        logits = forward(x)  # (C, B, K)
        each = cross_entropy(logits.flatten(0, 1), y, reduction="none", label_smoothing=self.label_smoothing)
        return each.view_as(index).mean(1)

    @torch.no_grad()
    def evaluate(
        self, forward: Forward, memory: Tensors, cells: Sequence[Draws], splits: Collection[str] = SPLITS
    ) -> dict[str, list[float]]:
        """Return each split's mean cross-entropy, and its share of examples whose largest logit is right.

        The networks see the training and test examples together. Without the training set each sees its own validation
        examples, of which it has far fewer.
        """
        held_out = torch.stack([self._held_out(cell) for cell in cells])
        networks = torch.tensor([cell.networks for cell in cells])
        held_out = held_out.repeat_interleave(networks, dim=0).to(self.train_y.device)  # (C, N)
        scored: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        if "train" in splits:
            loss, right = _score(forward, self.train_x, self.train_y)
            scored |= {"train": (loss, right, ~held_out), "val": (loss, right, held_out)}
        elif "val" in splits:
            own = held_out.nonzero()[:, 1].view(len(held_out), cells[0].validation)  # (C, V)
            loss, right = _score(forward, self.train_x, self.train_y, own)
            scored |= {"val": (loss, right, torch.ones_like(right))}
        if "test" in splits:
            loss, right = _score(forward, self.test_x, self.test_y)
            scored |= {"test": (loss, right, torch.ones_like(right))}
        scores = {}
        for split, (loss, right, chosen) in scored.items():
            count = chosen.sum(1)  # (C,)
            # torch.where, not a product: a nan outside the split must not enter the sum.
            scores[f"{split}_loss"] = (torch.where(chosen, loss, 0).sum(1, dtype=torch.float64) / count).tolist()
            scores[f"{split}_accuracy"] = ((right & chosen).sum(1, dtype=torch.float64) / count).tolist()
        return {name: values for name, values in scores.items() if name.partition("_")[0] in splits}

    def _held_out(self, cell: Draws) -> Tensor:
        return _split(cell.seed, cell.validation, len(self.train_y))


# Splits kept, since every evaluation asks for its cells' splits again; 256 of MNIST's take 15 MB.
@functools.lru_cache(maxsize=256)
def _split(seed: int, validation: int, examples: int) -> Tensor:
    """Return a cell's validation split: booleans (N,), true for a training example that is held out."""
    held_out = torch.zeros(examples, dtype=torch.bool)
    order = torch.randperm(examples, generator=generator(seed, "validation"))
    held_out[order[:validation]] = True
    return held_out


def _score(forward: Forward, x: Tensor, y: Tensor, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return each network's loss on each example, (C, N), and whether its largest logit is right, (C, N).

    own: indices of the examples that each network sees, (C, N), in place of all.
    """
    device, count = x.device, len(y) if own is None else own.shape[1]
    losses = torch.empty(forward.networks, count, dtype=forward.dtype, device=device)
    right = torch.empty(forward.networks, count, dtype=torch.bool, device=device)

    def take(batch: Batch) -> None:
        (place,) = batch  # (B,)
        if own is None:
            logits = forward(x.index_select(0, place), shared=True)  # (C, B, K)
            labels = y.index_select(0, place).expand(forward.networks, -1)  # (C, B)
        else:
            index = own.index_select(1, place)  # (C, B)
            logits = forward(x.index_select(0, index.flatten()).view(*index.shape, *x.shape[1:]))
            labels = y.index_select(0, index.flatten()).view_as(index)
        loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
        losses.index_copy_(1, place, loss)
        right.index_copy_(1, place, logits.argmax(2) == labels)

    # Capturing a CUDA graph takes longer than the few large batches of an evaluation on a GPU.
    do = (replayed if device.type == "cpu" else as_written)(take, device)
    for place in torch.split(torch.arange(count, device=device), forward.at_once(x)) if count else ():
        do((place,))
    return losses, right


def repeat_channel(data: Examples, input_shape: Sequence[int]) -> Examples:
    """Return pictures of one channel with that channel repeated, where `input_shape` has more; else the examples."""
    grey = (1, *input_shape[1:])
    if len(grey) == 1 or any(tuple(x.shape[1:]) != grey for x in (data.train_x, data.test_x)):
        return data
    train_x, test_x = (
        x.expand(-1, *input_shape).contiguous() for x in (data.train_x, data.test_x)
    )  # (N, *input_shape)
    return replace(data, train_x=train_x, test_x=test_x)


def check_examples(data: Examples, name: str, input_shape: Sequence[int], num_classes: int) -> None:
    """Raise UserError unless `data` has the shapes and labels that the YAML of data set `name` states."""
    for split, x, y in (("train", data.train_x, data.train_y), ("test", data.test_x, data.test_y)):
        if tuple(x.shape[1:]) != tuple(input_shape):
            raise UserError(
                f"dataset={name}: input_shape is {list(input_shape)}, the {split} files hold {list(x.shape[1:])}"
            )
        if len(x) != len(y):
            raise UserError(f"dataset={name}: {len(x)} {split} examples but {len(y)} labels")
        if int(y.min()) < 0 or int(y.max()) >= num_classes:
            raise UserError(f"dataset={name}: {split} labels run to {int(y.max())}, num_classes is {num_classes}")


def check_batches(data: Examples, name: str, batch_size: int, validation: int) -> None:
    """Raise UserError where a config asks for more examples than data set `name` has."""
    examples = len(data.train_y)
    left = examples - validation
    if left < 1:
        raise UserError(f"validation={validation} leaves nothing to train on: {name} has {examples} examples")
    if batch_size > left:
        raise UserError(f"batch_size={batch_size} is more than the {left} training examples of {name}")
