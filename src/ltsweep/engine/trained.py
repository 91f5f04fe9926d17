"""The tensors that the optimizer moves, and the weights that the forward pass makes of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ltsweep.engine.highest import keep_highest
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
        """Restore in place what must hold after an optimizer step, such as the zeros of masked weights."""
        ...

    def free(self, state: State) -> Tensors:
        """Return what is 1 where an optimizer step can change the networks and 0 where `after_step` undoes it.

        Name of a leaf -> a tensor in its layout, or one that broadcasts to it; leaves without are free.
        """
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

    def free(self, state: State) -> Tensors:
        """Return the masks."""
        return self._network.transposed(state.masks)


class TrainedScores:
    """A score for each prunable weight is trained: the weights with the highest scores are used, and none ever moves.

    Edge-popup (Ramanujan et al. 2020, section 3). A layer uses exactly the weights of its budget, ties by position. The
    gradient passes the choice as if it were not there: dL/ds = dL/d(w used) * w, and where scores count by magnitude
    this is dL/d|s|. All other parameters, such as biases, stay as they are too.
    """

    def __init__(
        self,
        network: Network,
        budgets: Sequence[Mapping[str, int]],
        magnitude: bool = True,
        together: bool = False,
    ) -> None:
        """Keep how many weights each network uses of each layer; with `together` only their sum over the layers counts.

        budgets: for each network name of a prunable weight -> number. magnitude: scores count by their absolute values.
        """
        self._network, self._magnitude, self._together = network, magnitude, together
        self._names = list(budgets[0])
        self._kept = torch.tensor([[budget[name] for name in self._names] for budget in budgets])  # (C, layers)

    def leaves(self, state: State) -> Tensors:
        """Return the scores as they lie in memory."""
        self._kept = self._kept.to(state.scores[self._names[0]].device)
        return self._network.transposed(state.scores)

    def weights(self, leaves: Tensors, state: State) -> Tensors:
        """Return the frozen parameters, with zeros in place of the weights that are not used."""
        frozen, masks = self._network.transposed(state.params), self._network.transposed(state.masks)
        used = {name: _Used.apply(score, frozen[name], masks[name], self._magnitude) for name, score in leaves.items()}
        return {**state.params, **self._network.transposed(used)}

    def after_step(self, leaves: Tensors, state: State) -> None:
        """Make the masks those of the highest scores."""
        scores, masks = ([tensors[name] for name in self._names] for tensors in (state.scores, state.masks))
        keep_highest(scores, masks, self._kept, self._magnitude, self._together)

    def free(self, state: State) -> Tensors:
        """Return zeros for the layers that stay whole, whose scores change nothing."""
        return {
            name: (kept < state.scores[name][0].numel()).view(-1, *(1 for _ in state.scores[name].shape[1:]))
            for name, kept in zip(self._names, self._kept.unbind(1), strict=True)
        }


class _Used(torch.autograd.Function):
    """The weights under their masks, as a function of the scores that chose the masks: straight through."""

    @staticmethod
    def forward(ctx: Any, score: Tensor, weight: Tensor, mask: Tensor, magnitude: bool) -> Tensor:
        ctx.save_for_backward(weight, *([score] if magnitude else []))
        return weight * mask

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        weight, *score = ctx.saved_tensors
        through = grads[0] * weight
        return (through.mul_(score[0].sign()) if score else through), None, None, None
