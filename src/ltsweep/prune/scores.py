"""Scores: short functions from a look at a stack to a number for each prunable weight. The lowest are removed."""

from ltsweep.engine.look import Look
from ltsweep.engine.stack import Tensors


def magnitude(look: Look) -> Tensors:
    """Return |weight| (Frankle & Carbin 2019, section 2)."""
    return {name: look.state.params[name].abs() for name in look.state.masks}
