"""Controls: networks trained beside the ticket, on its batches, with as many weights in every layer."""

from ltsweep import prune
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
