"""Examples with labels, whole in memory: the problem of classifying them.

Letters: C networks of a stack, B examples a batch, N examples of a split, K classes.
"""

import functools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ltsweep.data.augment import AUGMENTATIONS, Numbers, augmented
from ltsweep.data.scale import Scale, scale
from ltsweep.engine.problem import Batch, Draws, Score, by_order
from ltsweep.engine.replay import as_written, replayed
from ltsweep.engine.stack import Forward, Tensors
from ltsweep.errors import UserError
from ltsweep.rng import generator
from ltsweep.schema import SPLITS


@dataclass(frozen=True)
class Examples:
    """Training and test examples: x (N, *input_shape), y int64 (N,). The loss is the mean cross-entropy, in nats.

    x of dtype uint8 are pictures, which `scale` turns to floats in the batch; others are given to networks as they are.
    augment: names of `augment.AUGMENTATIONS` that training pictures go through, anew in each epoch.
    label_smoothing: the share of each label spread over all classes (Szegedy et al. 2016), in training and in no score.
    """

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    _: KW_ONLY
    scale: Scale = field(default_factory=scale)
    augment: Sequence[str] = ()
    label_smoothing: float = 0.0

    scores: ClassVar[tuple[Score, ...]] = (Score("loss", "lower"), Score("accuracy", "higher"))
    headline: ClassVar[Score] = scores[1]

    def map(self, fn: Callable[[Tensor], Tensor]) -> "Examples":
        """Return the examples with `fn` applied to each tensor."""
        train_x, train_y, test_x, test_y = map(fn, (self.train_x, self.train_y, self.test_x, self.test_y))
        return replace(self, train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y)

    def to(self, device: torch.device) -> "Examples":
        """Return the examples on a device."""
        return replace(self.map(lambda tensor: tensor.to(device)), scale=self.scale.to(device))

    def with_test(self, count: int) -> "Examples":
        """Return the examples with so many of the test examples, in a fixed choice that no seed changes."""
        chosen = torch.randperm(len(self.test_y), generator=generator(0, "evaluate_test"))[:count]
        return replace(self, test_x=self.test_x[chosen], test_y=self.test_y[chosen])

    def inputs(self, x: Tensor) -> Tensor:
        """Return examples (N, *input_shape) as networks take them, without augmentation."""
        return self.scale(x)

    def epoch(self, batch_size: int, validation: int) -> int:
        """Return the number of batches that hold each training example once; the last batch may be smaller."""
        return math.ceil((len(self.train_y) - validation) / batch_size)

    def memory(self, cells: Sequence[Draws], batch_size: int) -> Tensors:
        """Return nothing: a step changes weights alone."""
        return {}

    def batches(self, cells: Sequence[Draws], batch_size: int) -> Iterator[Batch]:
        """Yield indices (C, B) without end; each epoch has every training example once, in a new order.

        With augmentation also the numbers (C, B, D) by which each picture is changed.
        """
        every, places = by_order(cells)
        mine = [(~self._held_out(cell)).nonzero().flatten() for cell, _ in every]
        orders = [cell.generator(order, "order") for cell, order in every]
        numbers = [Numbers(self.augment, self.train_x.shape[2:], cell, order) for cell, order in every]

        def split(each: Sequence[Tensor]) -> Sequence[Tensor]:
            rows = torch.stack(list(each)).index_select(0, places)  # (C, N) or (C, N, D)
            return torch.split(rows.to(self.train_y.device), batch_size, dim=1)

        def shuffled() -> Sequence[Batch]:
            each = [kept[torch.randperm(len(kept), generator=rng)] for kept, rng in zip(mine, orders, strict=True)]
            parts = [split(each)]
            if self.augment:
                parts.append(split([own.draw(len(kept)) for own, kept in zip(numbers, mine, strict=True)]))
            return list(zip(*parts, strict=True))

        epoch = shuffled()
        while True:
            yield from epoch[:-1]
            last, epoch = epoch[-1], shuffled()  # while a GPU still has steps of this epoch to do
            yield last

    def ones(self) -> Tensor:
        """Return one example whose every input is 1, (1, *input_shape)."""
        return torch.ones_like(self.train_x[:1])

    def loss(self, forward: Forward, memory: Tensors, batch: Batch) -> Tensor:
        """Return each network's mean cross-entropy over its own examples, (C,)."""
        index, *numbers = batch  # (C, B), and with augmentation (C, B, D)
        x = self.train_x.index_select(0, index.flatten())  # (C * B, *shape)
        x = augmented(x, numbers[0].flatten(0, 1), self.augment, self.inputs) if numbers else self.inputs(x)
        y = self.train_y.index_select(0, index.flatten())  # (C * B,)
        logits = forward(x.view(*index.shape, *x.shape[1:]))  # (C, B, K)
        each = cross_entropy(logits.flatten(0, 1), y, reduction="none", label_smoothing=self.label_smoothing)
        return each.view_as(index).mean(1)

    @torch.no_grad()
    def evaluate(
        self, forward: Forward, memory: Tensors, cells: Sequence[Draws], splits: Collection[str] = SPLITS
    ) -> dict[str, list[float]]:
        """Return each split's mean cross-entropy, and its share of examples whose largest logit is right.

        Pictures are not augmented. The networks see the training and test examples together. Of the training set each
        may also see its own examples alone, which are far fewer: its sample, and those held out.
        """
        held_out = self._of_networks([self._held_out(cell) for cell in cells], cells)  # (C, N)
        scored: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

        def score_own(split: str, own: Tensor) -> None:
            loss, right = self._score(forward, self.train_x, self.train_y, own)
            scored[split] = (loss, right, torch.ones_like(right))

        if "train" in splits and cells[0].sample is None:
            loss, right = self._score(forward, self.train_x, self.train_y)
            scored |= {"train": (loss, right, ~held_out), "val": (loss, right, held_out)}
        else:
            if "train" in splits:
                score_own("train", self._of_networks([self._sample(cell) for cell in cells], cells))
            if "val" in splits:
                score_own("val", held_out.nonzero()[:, 1].view(len(held_out), cells[0].validation))
        if "test" in splits:
            loss, right = self._score(forward, self.test_x, self.test_y)
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

    def _sample(self, cell: Draws) -> Tensor:
        return _sample(cell.seed, cell.validation, len(self.train_y), cell.sample or 0)

    def _of_networks(self, each: Sequence[Tensor], cells: Sequence[Draws]) -> Tensor:
        """Return a row for each network, (C, ...), on the device of the examples; `each` has one for each cell."""
        networks = torch.tensor([cell.networks for cell in cells])
        return torch.stack(list(each)).repeat_interleave(networks, dim=0).to(self.train_y.device)

    def _score(self, forward: Forward, x: Tensor, y: Tensor, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return each network's loss on each example, (C, N), and whether its largest logit is right, (C, N).

        own: indices of the examples that each network sees, (C, N), in place of all.
        """
        device, count = x.device, len(y) if own is None else own.shape[1]
        losses = torch.empty(forward.networks, count, dtype=forward.dtype, device=device)
        right = torch.empty(forward.networks, count, dtype=torch.bool, device=device)

        def take(batch: Batch) -> None:
            (place,) = batch  # (B,)
            if own is None:
                logits = forward(self.inputs(x.index_select(0, place)), shared=True)  # (C, B, K)
                labels = y.index_select(0, place).expand(forward.networks, -1)  # (C, B)
            else:
                index = own.index_select(1, place)  # (C, B)
                mine = self.inputs(x.index_select(0, index.flatten()))  # (C * B, *shape)
                logits = forward(mine.view(*index.shape, *x.shape[1:]))
                labels = y.index_select(0, index.flatten()).view_as(index)
            loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
            losses.index_copy_(1, place, loss)
            right.index_copy_(1, place, logits.argmax(2) == labels)

        # Capturing a CUDA graph takes longer than the few large batches of an evaluation on a GPU.
        do = (replayed if device.type == "cpu" else as_written)(take, device)
        if count:
            for place in torch.split(torch.arange(count, device=device), forward.at_once(self.inputs(x[:1]))):
                do((place,))
        return losses, right


# Splits and samples kept, since every evaluation asks for its cells' again; 256 of MNIST's splits take 15 MB.
@functools.lru_cache(maxsize=256)
def _split(seed: int, validation: int, examples: int) -> Tensor:
    """Return a cell's validation split: booleans (N,), true for a training example that is held out."""
    held_out = torch.zeros(examples, dtype=torch.bool)
    order = torch.randperm(examples, generator=generator(seed, "validation"))
    held_out[order[:validation]] = True
    return held_out


@functools.lru_cache(maxsize=256)
def _sample(seed: int, validation: int, examples: int, count: int) -> Tensor:
    """Return the indices, (count,), of the training examples by which a cell is scored; none of them is held out."""
    kept = (~_split(seed, validation, examples)).nonzero().flatten()
    order = torch.randperm(len(kept), generator=generator(seed, "evaluate_train"))
    return kept[order[:count]]


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
        _check_pictures(data, name, x)
        if len(x) != len(y):
            raise UserError(f"dataset={name}: {len(x)} {split} examples but {len(y)} labels")
        if int(y.min()) < 0 or int(y.max()) >= num_classes:
            raise UserError(f"dataset={name}: {split} labels run to {int(y.max())}, num_classes is {num_classes}")


def _check_pictures(data: Examples, name: str, x: Tensor) -> None:
    """Raise UserError unless examples (N, *shape) are pictures where their config treats them as pictures."""
    if x.dim() != 4:
        for what, asked in (("augment", data.augment), ("bytes with a mean and std", x.dtype == torch.uint8)):
            if asked:
                raise UserError(f"dataset={name}: {what} is for pictures; an example has the shape {list(x.shape[1:])}")
        return
    for what, values in (("mean", data.scale.mean), ("std", data.scale.std)):
        if values is not None and len(values) not in (1, x.shape[1]):
            raise UserError(f"dataset={name}: {what} has {len(values)} numbers, and a picture {x.shape[1]} channels")
    for unknown in [one for one in data.augment if one not in AUGMENTATIONS]:
        raise UserError(f"dataset={name}: augment={unknown} is unknown; choose of {', '.join(AUGMENTATIONS)}")


def check_batches(
    data: Examples, name: str, batch_size: int, validation: int, sample: bool | int = True, test: int | None = None
) -> None:
    """Raise UserError where a config asks for more examples than data set `name` has.

    sample: as `evaluate_train`, the number of training examples that are scored, or whether all are. test: as
    `evaluate_test`, the number of test examples that are scored, None for all.
    """
    examples = len(data.train_y)
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
