"""Files of pictures, decoded as they are asked for, by processes of their own.

Letters: P pictures of a batch, K = 3 channels, H and W pixels, S pixels a side of what a network sees.
"""

import atexit
import math
import multiprocessing
import multiprocessing.util
import os
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ltsweep.data.folder import FORMATS, content_of, opened
from ltsweep.engine.problem import Draws
from ltsweep.errors import UserError
from ltsweep.signals import left_to_this_process
from ltsweep.words import shown

# The share of a picture's area that a random cut takes, its width over its height, and the tries to find one that lies
# within the picture (Szegedy et al. 2015, section 6; the tries are torchvision's).
_SHARE, _RATIO, _TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10

_BILINEAR = Image.Resampling.BILINEAR

# Processes that decode for this one.
_decoders: "weakref.WeakSet[BaseProcess]" = weakref.WeakSet()

T = TypeVar("T")


class Wanted(NamedTuple):
    """One picture that is to be decoded.

    draws: its cell, the name of its order, and its place among all pictures that a level has in this order, which draw
    the cut and the mirroring of a training picture. None for a picture that is scored.
    """

    path: str
    draws: tuple[Draws, str, int] | None = None


@dataclass(frozen=True)
class Decoder(Dataset[Tensor | str]):
    """What makes a file a picture (K, S, S) of bytes. What is wrong with a file is returned, as one line.

    A training picture is a random cut resized to S x S, mirrored or not. Of others the shorter side is resized to
    `resize` pixels, and the middle S x S are cut out.
    """

    size: int
    resize: int

    def __getitem__(self, wanted: Wanted) -> Tensor | str:
        """Return the picture, or why it cannot be decoded."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of broken remarks beside the pixels
                with opened(content_of(Path(wanted.path))) as found:
                    return self._seen(found.convert("RGB"), wanted)
        except UnidentifiedImageError:
            return f"{shown(wanted.path)} is no picture of {', '.join(FORMATS)}"
        except Exception as error:
            return f"{shown(wanted.path)} cannot be decoded: {shown(str(error))}"

    def _seen(self, picture: Image.Image, wanted: Wanted) -> Tensor:
        """Return what a network sees of a picture."""
        if wanted.draws is None:
            shorter = min(picture.size)
            whole = picture.resize([int(self.resize * n / shorter) for n in picture.size], _BILINEAR)
            left, top = (round((n - self.size) / 2) for n in whole.size)
            return _bytes(whole.crop((left, top, left + self.size, top + self.size)))
        cell, order, place = wanted.draws
        rng = cell.generator(order, "cut", place)
        top, left, height, width = random_cut(picture.height, picture.width, rng)
        cut = picture.crop((left, top, left + width, top + height)).resize((self.size, self.size), _BILINEAR)
        return _bytes(cut).flip(2) if torch.randint(2, (), generator=rng) else _bytes(cut)


def _bytes(picture: Image.Image) -> Tensor:
    """Return the pixels of a picture, (K, H, W)."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def random_cut(height: int, width: int, rng: torch.Generator) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a random part of a picture, as torchvision's RandomResizedCrop draws it.

    Where no try lies within the picture, its middle, as much of it as the ratios allow.
    """
    low, high = (math.log(ratio) for ratio in _RATIO)
    for share, ratio, top, left in torch.rand(_TRIES, 4, generator=rng, dtype=torch.float64).tolist():
        area = height * width * (_SHARE[0] + share * (_SHARE[1] - _SHARE[0]))
        shape = math.exp(low + ratio * (high - low))
        h, w = round(math.sqrt(area / shape)), round(math.sqrt(area * shape))
        if 0 < h <= height and 0 < w <= width:
            return int(top * (height - h + 1)), int(left * (width - w + 1)), h, w
    h, w = min(height, round(width / _RATIO[0])), min(width, round(height * _RATIO[1]))
    return (height - h) // 2, (width - w) // 2, h, w


def decoded(
    wanted: Iterable[tuple[T, list[Wanted]]], decoder: Decoder, processes: int, pinned: bool
) -> Iterator[tuple[T, Tensor]]:
    """Yield each tag of `wanted` with the pictures of its list, (P, K, S, S) of bytes, decoded ahead of time.

    processes: number of those that decode, 0 for this one. They end with the iterator, or with this process. pinned:
    the pictures lie in memory from which a GPU copies. Raises UserError with the name of a file that is no picture.
    """
    ahead: deque[T] = deque()

    def lists() -> Iterator[list[Wanted]]:
        for tag, pictures in wanted:
            ahead.append(tag)
            yield pictures

    context = None
    if processes:
        context = multiprocessing.get_context("forkserver")  # its processes start fast, and inherit no threads or files
        context.set_forkserver_preload([__name__])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of more processes than cores
        loader = DataLoader(
            decoder,
            batch_sampler=lists(),
            collate_fn=_together,
            num_workers=processes,
            multiprocessing_context=context,
            worker_init_fn=_end_with_parent,
            pin_memory=pinned,
            generator=torch.Generator(),  # it draws a seed, of which nothing here depends
        )
        others = multiprocessing.active_children()
        with left_to_this_process():
            batches = iter(loader)
        _decoders.update(set(multiprocessing.active_children()).difference(others))
    try:
        for batch in batches:
            if isinstance(batch, str):
                raise UserError(batch)
            yield ahead.popleft(), batch
    finally:
        del batches  # ends its processes at once, though a traceback may keep this frame


def _together(pictures: list[Tensor | str]) -> Tensor | str:
    """Return the pictures as one tensor, or what is wrong with the first that cannot be decoded."""
    wrong = next((one for one in pictures if isinstance(one, str)), None)
    return wrong or torch.stack([one for one in pictures if isinstance(one, Tensor)])


@atexit.register  # after that of multiprocessing, and so called before it
def _end_decoders() -> None:
    """Kill those that still decode as this process ends: multiprocessing would wait for them to heed its SIGTERM."""
    for process in _decoders:
        process.kill()


def _end_with_parent(_number: int) -> None:
    """End this process with the one that it decodes for, also with a killed one."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
