"""Augmentation of training pictures, as tensor operations on numbers that are drawn with the batch.

Letters: P pictures, K channels, H and W pixels, D numbers drawn for a picture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from ltsweep.engine.problem import Draws

# Pixels by which a crop moves a picture at most, each way (He et al. 2016, section 4.2).
PAD = 4


@dataclass(frozen=True)
class Augmentation:
    """A way to change a picture at random.

    ends: (H, W) -> the number of values that each of its D numbers can have, from 0 on, all equally likely.
    apply: (pictures (P, K, H, W), numbers (P, D)) -> pictures. It is recorded, so it reads no number back.
    of: `bytes`, the pictures as they are held, where 0 is black; or `floats`, as a network takes them, where 0 is the
    mean colour.
    """

    ends: Callable[[int, int], tuple[int, ...]]
    apply: Callable[[Tensor, Tensor], Tensor]
    of: str


def crop(pictures: Tensor, corner: Tensor) -> Tensor:
    """Return an H x W cut of each picture with `PAD` black pixels around it; corner: its row and column, (P, 2)."""
    count, channels, height, width = pictures.shape
    padded = pad(pictures, [PAD] * 4).flatten(2)  # (P, K, (H + 2 PAD) * (W + 2 PAD))
    rows, columns = (
        corner[:, axis, None] + torch.arange(size, device=corner.device) for axis, size in enumerate((height, width))
    )  # (P, H), (P, W)
    place = rows[:, :, None] * (width + 2 * PAD) + columns[:, None, :]  # (P, H, W)
    return padded.gather(2, place.view(count, 1, -1).expand(-1, channels, -1)).view_as(pictures)


def flip(pictures: Tensor, is_flipped: Tensor) -> Tensor:
    """Return each picture, or its mirror image, left for right, where `is_flipped`, (P, 1), is 1."""
    return torch.where(is_flipped.bool()[:, :, None, None], pictures.flip(3), pictures)


def cutout(pictures: Tensor, middle: Tensor) -> Tensor:
    """Return pictures with a square of the mean colour, half as wide as the picture (DeVries & Taylor 2017).

    middle: its row and column, (P, 2). The part of the square that lies outside the picture is not seen. On 32 x 32
    pixels it is 16 wide, as in the paper for CIFAR-10.
    """
    size = pictures.shape[2:]
    half = min(size) // 4
    away = [torch.arange(size[axis], device=middle.device) - middle[:, axis, None] for axis in (0, 1)]  # (P, H), (P, W)
    rows, columns = ((-half <= one) & (one < half) for one in away)
    return pictures.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


# Name -> augmentation, in the order in which they are applied, whatever the order in a config.
AUGMENTATIONS: dict[str, Augmentation] = {
    "crop": Augmentation(lambda height, width: (2 * PAD + 1, 2 * PAD + 1), crop, "bytes"),
    "flip": Augmentation(lambda height, width: (2,), flip, "bytes"),
    "cutout": Augmentation(lambda height, width: (height, width), cutout, "floats"),
}


class Numbers:
    """The numbers by which a cell's training pictures are changed at a level; each augmentation has its own stream.

    So cells with and without `flip` crop alike.
    """

    def __init__(self, names: Sequence[str], size: Sequence[int], cell: Draws, order: str = "") -> None:
        """Begin the streams of some augmentations of pictures of `size` (H, W)."""
        self._streams = [
            (one.ends(*size), cell.generator(order, "augment", name))
            for name, one in AUGMENTATIONS.items()
            if name in names
        ]

    def draw(self, pictures: int) -> Tensor:
        """Return the next numbers, (P, D), of all augmentations side by side."""
        each = [torch.randint(end, (pictures,), generator=stream) for ends, stream in self._streams for end in ends]
        return torch.stack(each, dim=1)


def augmented(pictures: Tensor, numbers: Tensor, names: Sequence[str], to_floats: Callable[[Tensor], Tensor]) -> Tensor:
    """Return pictures (P, K, H, W) changed by their numbers (P, D), as floats; `to_floats` leaves floats alone."""
    height, width = pictures.shape[2:]
    for one in _ordered(names):
        own, numbers = numbers.tensor_split([len(one.ends(height, width))], dim=1)
        pictures = one.apply(to_floats(pictures) if one.of == "floats" else pictures, own)
    return to_floats(pictures)


def _ordered(names: Sequence[str]) -> list[Augmentation]:
    return [one for name, one in AUGMENTATIONS.items() if name in names]
