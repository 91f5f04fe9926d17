"""The networks of a stack whose level has ended before its last step, with what they had then."""

from collections.abc import Mapping

import torch

from ltsweep.engine.stack import State, Tensors
from ltsweep.schema import SCORE_OF

# Of the names of their tensors in a checkpoint: this, the number of the network, and the name of the tensor.
_PREFIX = "ended"


class Ended:
    """Network -> its parameters, buffers and scores when its level ended, name -> (*shape)."""

    def __init__(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Take those of a checkpoint's tensors that are such, under the names of `tensors`."""
        self._weights: dict[int, Tensors] = {}
        for name, value in saved.items():
            prefix, _, rest = name.partition("/")
            if prefix == _PREFIX:
                number, _, own = rest.partition("/")
                self._weights.setdefault(int(number), {})[own] = value

    @property
    def networks(self) -> frozenset[int]:
        """Return the numbers of the networks."""
        return frozenset(self._weights)

    @property
    def tensors(self) -> Tensors:
        """Return all tensors by names for a checkpoint."""
        return {
            f"{_PREFIX}/{c}/{name}": value for c, weights in self._weights.items() for name, value in weights.items()
        }

    def end(self, c: int, state: State) -> None:
        """Keep a copy of what network c has now."""
        self._weights[c] = {name: value[c].detach().clone() for name, value in _all(state).items()}

    def weights(self, c: int, state: State) -> Tensors:
        """Return what network c has at the end of its level, or has now where that has not ended."""
        return self._weights.get(c) or {name: value[c] for name, value in _all(state).items()}

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Give each network back what it had, in place."""
        for c, weights in self._weights.items():
            for name, value in _all(state).items():
                value[c].copy_(weights[name])


def _all(state: State) -> Tensors:
    return {**state.params, **state.buffers, **{f"{SCORE_OF}{name}": value for name, value in state.scores.items()}}
