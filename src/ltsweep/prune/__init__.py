"""Pruning: layers, rates, scores, budgets, and the removal of exact counts."""

from ltsweep.prune.budget import between, compounded, erdos_renyi_kernel, keep_budget, share_of
from ltsweep.prune.layers import Layer, layers_of
from ltsweep.prune.rates import but_embeddings, but_first, but_last, by_type, half_output, uniform
from ltsweep.prune.remove import count, prune_global, prune_layerwise, prune_nodes, remove_lowest, shuffle
from ltsweep.prune.scores import grasp, magnitude, magnitude_increase, movement, random, snip, synflow

__all__ = [
    "Layer",
    "between",
    "but_embeddings",
    "but_first",
    "but_last",
    "by_type",
    "compounded",
    "count",
    "erdos_renyi_kernel",
    "grasp",
    "half_output",
    "keep_budget",
    "layers_of",
    "magnitude",
    "magnitude_increase",
    "movement",
    "prune_global",
    "prune_layerwise",
    "prune_nodes",
    "random",
    "remove_lowest",
    "share_of",
    "shuffle",
    "snip",
    "synflow",
    "uniform",
]
