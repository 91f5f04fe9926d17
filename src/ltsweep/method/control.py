"""Controls: networks trained beside the ticket, on its batches, with as many weights in every layer."""

import torch

from ltsweep import prune
from ltsweep.engine.stack import Tensors
from ltsweep.init import draw
from ltsweep.method.axes import Arm, Past, Start
from ltsweep.rng import generator


def reinit(past: Past, arm: Arm) -> Start:
    """Return the ticket's masks with fresh weights of the same initialization (Frankle & Carbin 2019, section 2)."""
    return draw(past.model, past.init, past.seed, arm.name, arm.draw, past.level), past.masks


def random_mask(past: Past, arm: Arm) -> Start:
    """Return the ticket's initial weights, and its masks with the ones of each layer at random positions."""
    purpose = (arm.name, arm.draw, past.level)
    masks = {name: prune.shuffle(mask, generator(past.seed, *purpose, name)) for name, mask in past.masks.items()}
    return past.initial, masks


def random_ticket(past: Past, arm: Arm) -> Start:
    """Return fresh weights under random masks: both of the above (Morcos et al. 2019, section 3.1)."""
    return reinit(past, arm)[0], random_mask(past, arm)[1]


def shuffle(past: Past, arm: Arm) -> Start:
    """Return the ticket's masks, with the surviving weights of each layer in a random order (Zhou et al. 2019, 4.2)."""
    weights = dict(past.initial)
    for name, mask in past.masks.items():
        rng, there = generator(past.seed, arm.name, arm.draw, past.level, name), mask.flatten() > 0
        values, shuffled = past.initial[name].flatten()[there], past.initial[name].flatten().clone()
        shuffled[there] = values[torch.randperm(len(values), generator=rng)]
        weights[name] = shuffled.view_as(mask)
    return weights, past.masks


def sign_constant(past: Past, arm: Arm) -> Start:
    """Return the ticket's masks and signs, with one magnitude a layer: the standard deviation of its initial weights.

    Zhou et al. 2019, section 4.2; the deviation is taken about zero, over all weights of the layer.
    """
    weights = dict(past.initial)
    for name in past.masks:
        value = past.initial[name]
        weights[name] = value.sign() * value.square().mean().sqrt()
    return weights, past.masks


def frozen(past: Past, arm: Arm) -> Start:
    """Return the ticket, with masked weights that stay at their initial values not zero (Zhou et al. 2019, 3)."""
    held: Tensors = {name: past.initial[name] * (1 - mask) for name, mask in past.masks.items()}
    return past.initial, past.masks, held


def twin(past: Past, arm: Arm) -> Start:
    """Return the ticket itself: it is trained on batches of its own order (Frankle et al. 2020, section 2)."""
    return past.initial, past.masks
