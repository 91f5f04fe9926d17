"""Pruning: layers, rates, scores, and the removal of exact counts."""

from ltsweep.prune.layers import Layer, layers_of
from ltsweep.prune.rates import by_type, half_output, uniform
from ltsweep.prune.remove import count, prune_global, prune_layerwise, remove_lowest, shuffle
from ltsweep.prune.scores import magnitude

__all__ = [
    "Layer",
    "by_type",
    "count",
    "half_output",
    "layers_of",
    "magnitude",
    "prune_global",
    "prune_layerwise",
    "remove_lowest",
    "shuffle",
    "uniform",
]
