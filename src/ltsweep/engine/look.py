"""A stack at one moment of a level, as scores and measurements see it."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ltsweep.engine.stack import State, Tensors


@dataclass(frozen=True)
class Look:
    """The state of C networks after `iteration` optimizer steps of a level.

    starts: for each network the weights and buffers that the level started from, before they were masked.
    """

    level: int
    iteration: int
    state: State
    starts: Sequence[Tensors]

    @functools.cached_property
    def start(self) -> Tensors:
        """Return the masked weights that the level started from: name of a prunable weight -> (C, *shape)."""
        return {
            name: torch.stack([one[name] for one in self.starts]).to(mask.device) * mask
            for name, mask in self.state.masks.items()
        }

    def every(self, step: int) -> "Look":
        """Return the look at networks 0, step, 2 * step, ... alone, as views."""
        return Look(self.level, self.iteration, self.state.every(step), self.starts[::step])
