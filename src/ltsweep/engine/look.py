"""A stack at one moment of a level, as scores and measurements see it.

Letters: C networks, B examples.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ltsweep.engine.problem import Draws, Problem
from ltsweep.engine.stack import Forward, Network, State, Tensors

# The level of the stream from which scores draw their examples; no level that is trained has this number.
SCORED = -1


@dataclass(frozen=True)
class Stage:
    """What a stack is trained on: its networks, their problem, and the source of each network's random numbers."""

    network: Network
    problem: Problem
    draws: Sequence[Draws]  # one for each cell; every network of a cell shares it


@dataclass(frozen=True)
class _Inputs(Forward):
    """A forward pass that keeps what it was given."""

    found: list[Tensor] = field(default_factory=list)

    def __call__(self, x: Tensor, shared: bool = False) -> Tensor:
        """Return the outputs for x."""
        self.found.append(x)
        return super().__call__(x, shared)


@dataclass(frozen=True)
class Look:
    """The state of C networks after `iteration` optimizer steps of a level.

    starts: for each network the weights and buffers that the level started from, before they were masked. kept: a
    function (level, step) -> for each network the ticket's weights and buffers there, as its method keeps them. arms:
    names of the networks of each cell, the ticket's first; network c is of arm c modulo their number.
    """

    level: int
    iteration: int
    state: State
    starts: Sequence[Tensors]
    stage: Stage | None = None
    kept: Callable[[int, int], Sequence[Tensors]] | None = None
    arms: Sequence[str] = ()

    @functools.cached_property
    def start(self) -> Tensors:
        """Return the masked weights that the level started from: name of a prunable weight -> (C, *shape)."""
        return {
            name: torch.stack([one[name] for one in self.starts]).to(mask.device) * mask
            for name, mask in self.state.masks.items()
        }

    def every(self, step: int) -> "Look":
        """Return the look at networks 0, step, 2 * step, ... alone, as views."""
        stage = self.stage and replace(self.stage, draws=[replace(draws, networks=1) for draws in self.stage.draws])
        return replace(self, state=self.state.every(step), starts=self.starts[::step], stage=stage)

    def at(self, networks: Sequence[Tensors], masks: Tensors) -> "Look":
        """Return the look at the same networks with other weights and buffers, (*shape) each, and other masks."""
        assert self.stage is not None
        device = next(iter(masks.values())).device
        each = [{name: mask[c] for name, mask in masks.items()} for c in range(len(networks))]
        moved = [{name: value.to(device) for name, value in one.items()} for one in networks]
        state = self.stage.network.stack(moved, each, device)
        state.buffers.update({name: value for name, value in self.state.buffers.items() if name not in state.buffers})
        return replace(self, state=state)

    def losses(self, leaves: Tensors, examples: int, temperature: float = 1.0) -> Tensor:
        """Return the loss of each network on so many training examples of its cell's own, (C,), differentiable.

        leaves: prunable weights to use in place of the state's, name -> (C, *shape). The logits are divided by
        `temperature`. The examples are the same at each call; normalization sees them as in training.
        """
        assert self.stage is not None
        buffers = {name: value.clone() for name, value in self.state.buffers.items()}
        forward = Forward(self.stage.network, {**self.state.params, **leaves}, buffers, training=True)
        return self._loss(replace(forward, temperature=temperature), examples)

    def inputs(self, examples: int) -> Tensor:
        """Return the inputs of these training examples as networks take them, (C, B, *shape)."""
        assert self.stage is not None
        seen = _Inputs(self.stage.network, self.state.params, self.state.buffers, training=False)
        self._loss(seen, examples)
        return seen.found[-1]  # the call with the gradient; games are played before it

    def _loss(self, forward: Forward, examples: int) -> Tensor:
        assert self.stage is not None
        problem = self.stage.problem
        draws = [replace(one, level=SCORED) for one in self.stage.draws]
        batch = next(problem.batches(draws, examples))
        memory = {name: value.clone() for name, value in problem.memory(draws, examples).items()}
        return problem.loss(forward, memory, batch)

    def flow(self, leaves: Tensors, buffers: Tensors) -> Tensor:
        """Return the sum of each network's outputs for one example of ones, (C,), differentiable in `leaves`."""
        assert self.stage is not None
        forward = Forward(self.stage.network, leaves, buffers, training=False)
        ones = self.stage.problem.ones().to(next(iter(leaves.values())))
        return forward(ones, shared=True).flatten(1).sum(1)
