"""Pictures as bytes, turned to floats in the batch and on its device, which takes a quarter of the memory.

Letters: K channels, H and W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

# A number for all channels, or one for each.
PerChannel: TypeAlias = float | Sequence[float]


@dataclass(frozen=True)
class Scale:
    """What makes a byte a number: (byte / 255 - mean) / std, the mean and std of pixels in [0, 1].

    white: 255. mean, std: (1 or K, 1, 1), or None for 0 and 1, which change no bit. White is a tensor too, since a GPU
    multiplies by the rounded 1 / 255 where a Python number is divided by.
    """

    white: Tensor
    mean: Tensor | None = None
    std: Tensor | None = None

    def to(self, device: torch.device) -> "Scale":
        """Return the scale on a device."""
        return Scale(*(part if part is None else part.to(device) for part in (self.white, self.mean, self.std)))  # type: ignore[arg-type]

    def __call__(self, x: Tensor) -> Tensor:
        """Return examples (..., K, H, W) as a network takes them: bytes as float32, any other numbers as they are."""
        if x.dtype != torch.uint8:
            return x
        floats = x / self.white
        if self.mean is not None:
            floats.sub_(self.mean)
        if self.std is not None:
            floats.div_(self.std)
        return floats


def scale(mean: PerChannel = 0.0, std: PerChannel = 1.0) -> Scale:
    """Return the scale of a data set whose pixels, in [0, 1], have this mean and standard deviation."""
    means, stds = (torch.tensor(value, dtype=torch.float32).view(-1, 1, 1) for value in (mean, std))
    return Scale(
        torch.tensor(255.0), means if bool((means != 0).any()) else None, stds if bool((stds != 1).any()) else None
    )
