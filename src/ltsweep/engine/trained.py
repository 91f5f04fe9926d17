"""The tensors that the optimizer moves, and the weights that the forward pass makes of them."""

from typing import Protocol

import torch

from ltsweep.engine.stack import Network, State, Tensors


class Trained(Protocol):
    """The trained tensors of a stack's state. These functions are recorded, so they read no number back."""

    def leaves(self, state: State) -> Tensors:
        """Return the tensors that the optimizer moves, name -> (C, *shape), as views of the state's own memory."""
        ...

    def weights(self, leaves: Tensors, state: State) -> Tensors:
        """Return the parameters that the forward pass uses, in torch's layout, differentiable in the leaves."""
        ...

    def after_step(self, leaves: Tensors, state: State) -> None:
        """Restore in place the values that an optimizer step must not change, such as the zeros of masked weights."""
        ...


class MaskedWeights:
    """The weights themselves are trained. After each step, masked weights are set again to zero, or to what is held.

    So neither momentum nor weight decay can move a masked weight.
    """

    def __init__(self, network: Network) -> None:
        """Keep the network, which knows the layout of its weights in memory."""
        self._network = network

    def leaves(self, state: State) -> Tensors:
        """Return the parameters as they lie in memory."""
        return self._network.transposed(state.params)

    def weights(self, leaves: Tensors, state: State) -> Tensors:
        """Return the leaves in torch's layout."""
        return self._network.transposed(leaves)

    def after_step(self, leaves: Tensors, state: State) -> None:
        """Multiply the weights by their masks, and add what is held in place of zeros."""
        masks, held = self._network.transposed(state.masks), self._network.transposed(state.held)
        torch._foreach_mul_([leaves[name] for name in masks], list(masks.values()))
        if held:
            torch._foreach_add_([leaves[name] for name in held], list(held.values()))
