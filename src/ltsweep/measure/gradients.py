"""The gradient of the loss by each layer's weights: its norm, layer by layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ltsweep.engine.look import Look
from ltsweep.errors import UserError
from ltsweep.measure.reading import Moment, Reading, check_moments
from ltsweep.words import shown

# Examples of a network whose loss is taken.
_MOST = 10_000


@dataclass(frozen=True)
class Gradients:
    """The Euclidean norm of the gradient by the surviving weights of each prunable layer.

    gradient: that of layer `place`, at its number from 1. The loss is that of training, over so many training examples
    of each network, drawn by its seed; normalization sees them as in training.
    """

    examples: int = 64
    moments: Sequence[Moment] = ("start",)

    def __post_init__(self) -> None:
        """Raise UserError for values out of range."""
        if isinstance(self.examples, bool) or not isinstance(self.examples, int) or not 1 <= self.examples <= _MOST:
            raise UserError(
                f"measure.gradients.examples={shown(self.examples)} is out of range: it is a whole number from 1 to "
                f"{_MOST:,}"
            )
        check_moments("gradients", self.moments)

    def __call__(self, look: Look) -> Iterator[Reading]:
        """Yield a reading a layer."""
        masks = look.state.masks
        leaves = {name: look.state.used[name].detach().requires_grad_() for name in masks}
        with torch.enable_grad():
            loss = look.losses(leaves, self.examples).sum()
            gradients = torch.autograd.grad(loss, list(leaves.values()))
        for number, (name, gradient) in enumerate(zip(leaves, gradients, strict=True), start=1):
            norms = (gradient * masks[name]).flatten(1).double().norm(dim=1)
            yield Reading("gradient", name, number, norms)
