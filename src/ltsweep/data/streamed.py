"""Pictures of class folders, read from the disk batch by batch: for data sets that no memory holds.

Letters: C networks of a stack, B examples a batch, N pictures of a split, K = 3 channels, S pixels a side.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ltsweep.data.decode import Decoder, Wanted, decoded
from ltsweep.data.labelled import Labelled, chosen_of_test, score
from ltsweep.data.scale import PerChannel, Scale, scale
from ltsweep.engine.problem import ALL, Batch, Draws, Part, by_order
from ltsweep.engine.replay import as_written
from ltsweep.engine.stack import Forward, Tensors
from ltsweep.errors import UserError
from ltsweep.words import shown

# Most processes that decode for one that trains.
_MOST_DECODERS = 1_024

# Names of files, (N,): a million Python strings would be copied to each worker process one by one.
Names: TypeAlias = npt.NDArray[np.bytes_]


@dataclass(frozen=True)
class Streamed(Labelled):
    """Training and test pictures as files: names (N,), bytes, from `root` on; y int64 (N,).

    decoders: processes that decode for each one that trains. No number depends on it.
    """

    root: Path
    train: Names
    train_y: Tensor
    test: Names
    test_y: Tensor
    decoder: Decoder
    decoders: int
    scale: Scale
    label_smoothing: float = 0.0

    def to(self, device: torch.device) -> "Streamed":
        """Return the problem with its labels, and the pictures of its batches, on a device."""
        labels = {"train_y": self.train_y.to(device), "test_y": self.test_y.to(device)}
        return replace(self, **labels, scale=self.scale.to(device))  # type: ignore[arg-type]

    def with_test(self, count: int) -> "Streamed":
        """Return the problem with so many of the test pictures, in a fixed choice that no seed changes."""
        chosen = chosen_of_test(len(self.test_y), count)
        return replace(self, test=self.test[chosen.numpy()], test_y=self.test_y[chosen])

    def batches(self, cells: Sequence[Draws], batch_size: int, first: int = 0, part: Part = ALL) -> Iterator[Batch]:
        """Yield pictures (C, B, K, S, S) of bytes, and labels (C, B), without end, in the order of `Examples`.

        Each picture is cut and mirrored by numbers of its own, from its cell's stream. What is before `first` is not
        decoded, nor what other parts have.
        """
        every, places = by_order(cells)
        places = places.to(self._device)

        def wanted() -> Iterator[tuple[Tensor, list[Wanted]]]:
            for index, place in itertools.islice(self._in_order(every, batch_size), first, None):
                own = part.take(index)
                numbers = part.take(torch.arange(place, place + index.shape[1]), dim=0).tolist()
                yield (
                    own,
                    [
                        Wanted(self._path(self.train, n), (cell, order, number))
                        for (cell, order), row in zip(every, own.tolist(), strict=True)
                        for n, number in zip(row, numbers, strict=True)
                    ],
                )

        for index, pictures in self._decoded(wanted()):
            x = pictures.view(*index.shape, *pictures.shape[1:])
            yield x.index_select(0, places), self.train_y[index.to(self._device)].index_select(0, places)

    def _in_order(self, every: Sequence[tuple[Draws, str]], batch_size: int) -> Iterator[tuple[Tensor, int]]:
        """Yield the indices of the pictures of a batch in each order, and the place of the first in the level."""
        place = 0
        for orders in self._orders(every):
            for index in torch.split(torch.stack(orders), batch_size, dim=1):
                yield index, place
                place += index.shape[1]

    def ones(self) -> Tensor:
        """Return one picture whose every byte is 1, (1, K, S, S)."""
        size = self.decoder.size
        return torch.ones(1, 3, size, size, dtype=torch.uint8, device=self._device)

    def loss(self, forward: Forward, memory: Tensors, batch: Batch) -> Tensor:
        """Return each network's mean cross-entropy over its own pictures, (C,)."""
        x, y = batch  # (C, B, K, S, S) of bytes, (C, B)
        return self._mean_loss(forward(self.scale(x)), y)

    def _score(self, forward: Forward, split: str, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
        names, y = (self.train, self.train_y) if split == "train" else (self.test, self.test_y)
        count = len(y) if own is None else own.shape[1]
        losses = torch.empty(forward.networks, count, dtype=forward.dtype, device=self._device)
        right = torch.empty_like(losses)

        def wanted() -> Iterator[tuple[tuple[Tensor, Tensor, Tensor | None], list[Wanted]]]:
            """Yield places among the `count`, the pictures there, and which of them each network sees; None for all."""
            for place in torch.split(torch.arange(count), forward.at_once(self.scale(self.ones()))):
                which = None
                index = place
                if own is not None:  # networks that share a picture have it decoded once
                    index, which = own[:, place.to(own.device)].cpu().unique(return_inverse=True)  # type: ignore[no-untyped-call]
                yield (place, index, which), [Wanted(self._path(names, n)) for n in index.tolist()]

        def take(batch: Batch) -> None:
            place, x, labels, *which = batch  # (B,), (P, K, S, S), (P,), and (C, B)
            x = self.scale(x)
            logits = forward(x[which[0]] if which else x, shared=not which)  # (C, B, classes)
            seen = labels[which[0]] if which else labels.expand(forward.networks, -1)  # (C, B)
            for all_of_them, found in zip((losses, right), score(logits, seen), strict=True):
                all_of_them.index_copy_(1, place, found)

        do = as_written(take, self._device)
        for (place, index, which), pictures in self._decoded(wanted()) if count else ():
            others = () if which is None else (which.to(self._device),)
            do((place.to(self._device), pictures, y[index.to(self._device)], *others))
        return losses, right

    def _decoded(self, wanted: Iterator[tuple[Any, list[Wanted]]]) -> Iterator[tuple[Any, Tensor]]:
        """Yield each tag with its pictures, on the device of the labels."""
        on_gpu = self._device.type == "cuda"
        for tag, pictures in decoded(wanted, self.decoder, self.decoders, pinned=on_gpu):
            yield tag, pictures.to(self._device, non_blocking=on_gpu)

    def _path(self, names: Names, index: int) -> str:
        return os.path.join(self.root, os.fsdecode(bytes(names[index])))

    @property
    def _device(self) -> torch.device:
        return self.train_y.device


def imagenet(
    data_dir: Path,
    root: str,
    shape: Sequence[int],
    classes: int,
    size: int,
    resize: int,
    mean: PerChannel = 0.0,
    std: PerChannel = 1.0,
    decoders: int = 4,
) -> Streamed:
    """Return the pictures of `root`/train/<class>/ and `root`/val/<class>/, to be decoded as they are needed.

    Files, classes and labels are those of torchvision.datasets.ImageNet. root: a folder, from `data_dir` on. shape: (K,
    S, S) with S = size. resize: pixels of the shorter side of a picture that is scored, of which the middle is cut out.

    Raises UserError where the folder is not there or not of this form, or has another number of classes.
    """
    if list(shape) != [3, size, size]:
        raise UserError(f"dataset.input_shape={shown(list(shape))} is [3,{size},{size}] by dataset.size={size}")
    if resize < size:
        raise UserError(f"dataset.resize={resize} is less than dataset.size={size}, which is cut out of it")
    if isinstance(decoders, bool) or not isinstance(decoders, int) or not 0 <= decoders <= _MOST_DECODERS:
        raise UserError(
            f"dataset.decoders={shown(decoders)} is out of range: dataset.decoders is a whole number from 0 to "
            f"{_MOST_DECODERS:,}"
        )
    folder = Path(data_dir).absolute() / root
    (train, train_y, names), (test, test_y, others) = (_listed(folder, split) for split in ("train", "val"))
    for one in set(names) ^ set(others):
        has, lacks = ("train", "val") if one in names else ("val", "train")
        raise UserError(f"{folder}: {has} has the class {shown(one)}, and {lacks} does not")
    if len(names) != classes:
        raise UserError(f"{folder} has {len(names)} classes, and dataset.num_classes={classes}")
    decoder = Decoder(size, resize)
    return Streamed(folder, train, train_y, test, test_y, decoder, decoders, scale(mean, std))


def _listed(folder: Path, split: str) -> tuple[Names, Tensor, list[str]]:
    """Return the names of a split's files from `folder` on, bytes (N,), their labels (N,), and the classes in order."""
    from torchvision.datasets import ImageFolder  # slow to import

    if not (folder / split).is_dir():
        raise UserError(f"{folder / split} is no folder; dataset.root is a folder with train/<class>/ and val/<class>/")
    try:
        found = ImageFolder(os.path.join(folder, split))
    except FileNotFoundError as error:
        raise UserError(f"{folder / split}: {shown(str(error))}") from error
    before = len(os.path.join(folder, ""))
    return (
        np.array([os.fsencode(path[before:]) for path, _ in found.samples]),
        torch.tensor(found.targets),
        found.classes,
    )
