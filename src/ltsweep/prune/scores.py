"""Scores: short functions from a look at a stack to a number for each prunable weight. The lowest are removed.

Letters: C networks, w a weight, g its gradient, H the Hessian of the loss.
"""

import torch

from ltsweep.engine.look import Look
from ltsweep.engine.stack import Tensors
from ltsweep.rng import generator

# Training examples of which the gradient is taken: ten a class for ten classes (Wang et al. 2020, section 5).
EXAMPLES = 100

# What GraSP divides the logits by (Wang et al. 2020, the authors' code).
_TEMPERATURE = 200.0


def magnitude(look: Look) -> Tensors:
    """Return |w| (Frankle & Carbin 2019, section 2)."""
    return {name: look.state.params[name].abs() for name in look.state.masks}


def magnitude_increase(look: Look) -> Tensors:
    """Return |w| - |w at the start of the level| (Zhou et al. 2019, section 2)."""
    return {name: look.state.params[name].abs() - start.abs() for name, start in look.start.items()}


def movement(look: Look) -> Tensors:
    """Return |w - w at the start of the level| (Zhou et al. 2019, section 2)."""
    return {name: (look.state.params[name] - start).abs() for name, start in look.start.items()}


def random(look: Look) -> Tensors:
    """Return a uniform number for each weight, from each cell's own stream; the same at every level."""
    assert look.stage is not None
    seeds = [draws.seed for draws in look.stage.draws]
    return {
        name: torch.stack([torch.rand(mask.shape[1:], generator=generator(seed, "score", name)) for seed in seeds]).to(
            mask.device
        )
        for name, mask in look.state.masks.items()
    }


def snip(look: Look, examples: int = EXAMPLES) -> Tensors:
    """Return |g * w| over its sum in the network (Lee et al. 2019, eq. 6)."""
    leaves = _leaves(look)
    gradients = torch.autograd.grad(look.losses(leaves, examples).sum(), list(leaves.values()))
    found = {name: (g * leaves[name]).detach().abs() for name, g in zip(leaves, gradients, strict=True)}
    total = torch.stack([value.flatten(1).sum(1) for value in found.values()]).sum(0)  # (C,)
    return {name: value / total.view(-1, *[1] * (value.dim() - 1)) for name, value in found.items()}


def grasp(look: Look, examples: int = EXAMPLES) -> Tensors:
    """Return w * (H g) (Wang et al. 2020, eq. 8, whose S is its negative: there the highest S go).

    Removing weights with the lowest of these numbers keeps, or raises, the norm of the gradient.
    """
    leaves = _leaves(look)
    values = list(leaves.values())
    losses = look.losses(leaves, examples, _TEMPERATURE).sum()
    gradients = torch.autograd.grad(losses, values, create_graph=True)
    product = torch.stack([(g * g.detach()).sum() for g in gradients]).sum()
    found = torch.autograd.grad(product, values)
    return {name: (leaves[name] * hg).detach() for name, hg in zip(leaves, found, strict=True)}


def synflow(look: Look) -> Tensors:
    """Return |w| * dR/d|w|, R the sum of the outputs for an input of ones with every weight positive.

    Tanaka et al. 2020, eq. 2 and algorithm 1; in float64, since the sums of deep networks pass float32's range.
    """
    positive = {name: value.detach().double().abs() for name, value in look.state.params.items()}
    leaves = {name: positive[name].requires_grad_() for name in look.state.masks}
    buffers = {
        name: value.double().abs() if value.is_floating_point() else value for name, value in look.state.buffers.items()
    }
    gradients = torch.autograd.grad(look.flow(positive, buffers).sum(), list(leaves.values()))
    return {name: (leaves[name] * g).detach() for name, g in zip(leaves, gradients, strict=True)}


def _leaves(look: Look) -> Tensors:
    return {name: look.state.params[name].detach().clone().requires_grad_() for name in look.state.masks}
