"""Rewinding: which weights a level starts from."""

from ltsweep.engine.stack import Tensors
from ltsweep.method.axes import Past


def init(past: Past) -> Tensors:
    """Return the initial weights and buffers (Frankle & Carbin 2019, section 2)."""
    return past.initial
