"""What the optimizer moves, and which weights the forward pass uses."""

from typing import Protocol

import torch

from ltsweep.engine.stack import Network, State, Tensors


class Trained(Protocol):
    """The way from a stack's state to what is trained. Its functions are recorded, so they read no number back."""

    def leaves(self, state: State) -> Tensors:
        """Return what the optimizer moves, name -> (C, *shape), as views of the state's own memory."""
        ...

    def weights(self, leaves: Tensors, state: State) -> Tensors:
        """Return the parameters that the forward pass uses, in torch's layout, differentiable in the leaves."""
        ...

    def after_step(self, leaves: Tensors, state: State) -> None:
        """Restore in place what an optimizer step may not change."""
        ...


class MaskedWeights:
    """The weights themselves are trained. Masked ones are zero again after each step.

    So neither momentum nor weight decay can bring a weight back.
    """

    def __init__(self, network: Network) -> None:
        """Take the network, which knows how its weights lie in memory."""
        self._network = network

    def leaves(self, state: State) -> Tensors:
        """Return the parameters as they lie in memory."""
        return self._network.transposed(state.params)

    def weights(self, leaves: Tensors, state: State) -> Tensors:
        """Return the leaves in torch's layout."""
        return self._network.transposed(leaves)

    def after_step(self, leaves: Tensors, state: State) -> None:
        """Multiply the weights by their masks."""
        masks = self._network.transposed(state.masks)
        torch._foreach_mul_([leaves[name] for name in masks], list(masks.values()))
