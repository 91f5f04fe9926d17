"""Fully connected networks."""

from collections import OrderedDict
from collections.abc import Sequence
from math import prod

from torch import nn

from ltsweep.models.parts import dense_end, find_activation, scaled


def mlp(
    input_shape: Sequence[int],
    num_classes: int,
    hidden: Sequence[int] = (300, 100),
    activation: str = "relu",
    negative_slope: float = 0.01,
    width: float = 1.0,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Return a fully connected network: (B, *input_shape) -> logits (B, num_classes).

    hidden: units of each hidden layer. width: a factor of them. dropout: the share of them that a step drops.
    """
    act = find_activation(activation, negative_slope)
    end = dense_end(prod(input_shape), scaled(hidden, width), num_classes, act, dropout)
    return nn.Sequential(OrderedDict([("flatten", nn.Flatten()), *end]))


def lenet_300_100(
    input_shape: Sequence[int], num_classes: int, activation: str = "relu", negative_slope: float = 0.01
) -> nn.Sequential:
    """Return LeNet-300-100 (Frankle & Carbin 2019, figure 2): (B, *input_shape) -> logits (B, num_classes)."""
    return mlp(input_shape, num_classes, (300, 100), activation, negative_slope)
