"""Examples with labels, whole in memory: the problem of classifying them.

Letters: C networks of a stack, B examples a batch, N examples of a split, T labels of an example, K classes.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace

import torch
from torch import Tensor

from ltsweep.data.augment import AUGMENTATIONS, Numbers, augmented
from ltsweep.data.labelled import Labelled, chosen_of_test, score
from ltsweep.data.scale import Scale, scale
from ltsweep.engine.problem import ALL, Batch, Draws, Part, by_order
from ltsweep.engine.replay import as_written, replayed
from ltsweep.engine.stack import Forward, Tensors
from ltsweep.errors import UserError


@dataclass(frozen=True)
class Examples(Labelled):
    """Training and test examples: x (N, *input_shape), y int64 (N,), or (N, T) where an example has T labels.

    x of dtype uint8 are pictures, which `scale` turns to floats in the batch; others are given to networks as they are.
    augment: names of `augment.AUGMENTATIONS` that training pictures go through, anew in each epoch. held_out: as
    `Labelled`.
    """

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    _: KW_ONLY
    scale: Scale = field(default_factory=scale)
    augment: Sequence[str] = ()
    label_smoothing: float = 0.0
    held_out: Tensor | None = None

    def map(self, fn: Callable[[Tensor], Tensor]) -> "Examples":
        """Return the examples with `fn` applied to each tensor."""
        train_x, train_y, test_x, test_y = map(fn, (self.train_x, self.train_y, self.test_x, self.test_y))
        return replace(self, train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y)

    def to(self, device: torch.device) -> "Examples":
        """Return the examples on a device."""
        return replace(self.map(lambda tensor: tensor.to(device)), scale=self.scale.to(device))

    def with_test(self, count: int) -> "Examples":
        """Return the examples with so many of the test examples, in a fixed choice that no seed changes."""
        chosen = chosen_of_test(len(self.test_y), count)
        return replace(self, test_x=self.test_x[chosen], test_y=self.test_y[chosen])

    def inputs(self, x: Tensor) -> Tensor:
        """Return examples (N, *input_shape) as networks take them, without augmentation."""
        return self.scale(x)

    def batches(self, cells: Sequence[Draws], batch_size: int, first: int = 0, part: Part = ALL) -> Iterator[Batch]:
        """Yield indices (C, B) without end; each epoch has every training example once, in a new order.

        With augmentation also the numbers (C, B, D) by which each picture is changed.
        """
        whole = itertools.islice(self._batches(cells, batch_size), first, None)
        return whole if part == ALL else (tuple(map(part.take, batch)) for batch in whole)

    def _batches(self, cells: Sequence[Draws], batch_size: int) -> Iterator[Batch]:
        every, places = by_order(cells)
        orders = self._orders(every)
        numbers = [Numbers(self.augment, self.train_x.shape[2:], cell, order) for cell, order in every]

        def split(each: Sequence[Tensor]) -> Sequence[Tensor]:
            rows = torch.stack(list(each)).index_select(0, places)  # (C, N) or (C, N, D)
            return torch.split(rows.to(self.train_y.device), batch_size, dim=1)

        def shuffled() -> Sequence[Batch]:
            each = next(orders)
            parts = [split(each)]
            if self.augment:
                parts.append(split([own.draw(len(order)) for own, order in zip(numbers, each, strict=True)]))
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
        y = self.train_y.index_select(0, index.flatten())  # (C * B, T)
        logits = forward(x.view(*index.shape, *x.shape[1:]))  # (C, B, T, K)
        return self._mean_loss(logits, y.view(*index.shape, *y.shape[1:]))

    def _score(self, forward: Forward, split: str, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, y = (self.train_x, self.train_y) if split == "train" else (self.test_x, self.test_y)
        device, count = x.device, len(y) if own is None else own.shape[1]
        losses = torch.empty(forward.networks, count, dtype=forward.dtype, device=device)
        right = torch.empty_like(losses)

        def take(batch: Batch) -> None:
            (place,) = batch  # (B,)
            if own is None:
                logits = forward(self.inputs(x.index_select(0, place)), shared=True)  # (C, B, T, K)
                seen = y.index_select(0, place)  # (B, T)
                labels = seen.expand(forward.networks, *seen.shape)  # (C, B, T)
            else:
                index = own.index_select(1, place)  # (C, B)
                mine = self.inputs(x.index_select(0, index.flatten()))  # (C * B, *shape)
                logits = forward(mine.view(*index.shape, *x.shape[1:]))
                labels = y.index_select(0, index.flatten()).view(*index.shape, *y.shape[1:])
            for all_of_them, found in zip((losses, right), score(logits, labels), strict=True):
                all_of_them.index_copy_(1, place, found)

        # Capturing a CUDA graph takes longer than the few large batches of an evaluation on a GPU.
        do = (replayed if device.type == "cpu" else as_written)(take, device)
        if count:
            for place in torch.split(torch.arange(count, device=device), forward.at_once(self.inputs(x[:1]))):
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


def check_examples(
    data: Examples, name: str, input_shape: Sequence[int], num_classes: int, label_shape: Sequence[int] = ()
) -> None:
    """Raise UserError unless `data` has the shapes and labels that the YAML of data set `name` states."""
    for split, x, y in (("train", data.train_x, data.train_y), ("test", data.test_x, data.test_y)):
        if tuple(x.shape[1:]) != tuple(input_shape):
            raise UserError(
                f"dataset={name}: input_shape is {list(input_shape)}, the {split} files hold {list(x.shape[1:])}"
            )
        _check_pictures(data, name, x)
        if len(x) != len(y):
            raise UserError(f"dataset={name}: {len(x)} {split} examples but {len(y)} labels")
        if tuple(y.shape[1:]) != tuple(label_shape):
            held = f"{list(y.shape[1:])} for each {split} example"
            raise UserError(f"dataset={name}: label_shape is {list(label_shape)}, the files hold labels of {held}")
        if int(y.min()) < 0 or int(y.max()) >= num_classes:
            raise UserError(f"dataset={name}: {split} labels run to {int(y.max())}, num_classes is {num_classes}")
        if x.dtype == torch.int64 and (int(x.min()) < 0 or int(x.max()) >= num_classes):
            raise UserError(f"dataset={name}: {split} tokens run to {int(x.max())}, num_classes is {num_classes}")


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
