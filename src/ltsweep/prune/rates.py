"""Pruning rates: short functions from a network's layers to the share of surviving weights that a level removes."""

from collections.abc import Sequence

from ltsweep.prune.layers import Layer


def uniform(layers: Sequence[Layer], value: float) -> dict[str, float]:
    """Return the same rate for every layer."""
    return {layer.name: value for layer in layers}


def half_output(layers: Sequence[Layer], value: float) -> dict[str, float]:
    """Return `value`, and half of it for the output layer (Frankle & Carbin 2019, figure 2)."""
    return {layer.name: value / 2 if layer.kind == "output" else value for layer in layers}


def by_type(
    layers: Sequence[Layer], value: float, conv: float, fc: float, output: float, embedding: float | None = None
) -> dict[str, float]:
    """Return the rate of each layer's kind; `value` is not used, and only stands for the rates in tables.

    embedding: None for the rate of fully connected layers.
    """
    rates = {"conv": conv, "fc": fc, "output": output, "embedding": fc if embedding is None else embedding}
    return {layer.name: rates[layer.kind] for layer in layers}


def but_first(layers: Sequence[Layer], value: float) -> dict[str, float]:
    """Return `value` for every layer but the first, which stays whole."""
    return {layer.name: value if number else 0.0 for number, layer in enumerate(layers)}


def but_embeddings(layers: Sequence[Layer], value: float) -> dict[str, float]:
    """Return `value` for every layer but embeddings, which stay whole."""
    return {layer.name: 0.0 if layer.kind == "embedding" else value for layer in layers}


def but_last(layers: Sequence[Layer], value: float) -> dict[str, float]:
    """Return `value` for every layer but the output layer, which stays whole."""
    return {layer.name: 0.0 if layer.kind == "output" else value for layer in layers}
