"""Models: each a function that builds one network, and a YAML in conf/model/."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import prod

from torch import nn

from ltsweep.errors import UserError
from ltsweep.words import shown


def _activation(name: str, negative_slope: float) -> Callable[[], nn.Module]:
    choices: dict[str, Callable[[], nn.Module]] = {
        "relu": nn.ReLU,
        "leaky_relu": lambda: nn.LeakyReLU(negative_slope),
    }
    if name not in choices:
        raise UserError(f"model.activation={shown(name)} is unknown; choose one of {', '.join(choices)}")
    return choices[name]


def lenet_300_100(
    input_shape: Sequence[int], num_classes: int, activation: str = "relu", negative_slope: float = 0.01
) -> nn.Sequential:
    """Return LeNet-300-100 (Frankle & Carbin 2019, figure 2): (B, *input_shape) -> logits (B, num_classes)."""
    act = _activation(activation, negative_slope)
    layers: list[tuple[str, nn.Module]] = [
        ("flatten", nn.Flatten()),
        ("fc1", nn.Linear(prod(input_shape), 300)),
        ("act1", act()),
        ("fc2", nn.Linear(300, 100)),
        ("act2", act()),
        ("output", nn.Linear(100, num_classes)),
    ]
    return nn.Sequential(OrderedDict(layers))


def lenet5(
    input_shape: Sequence[int], num_classes: int, activation: str = "relu", negative_slope: float = 0.01
) -> nn.Sequential:
    """Return "Lenet5" of Shu, Qi & Liang, the paper's Conv-2: (B, C, H, W) -> logits (B, num_classes).

    Two 3x3 convolutions of 64 channels that keep the picture's size, a 2x2 max-pool, then 256, 256, num_classes.
    """
    act = _activation(activation, negative_slope)
    channels, height, width = input_shape
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(channels, 64, kernel_size=3, padding=1)),
        ("act1", act()),
        ("conv2", nn.Conv2d(64, 64, kernel_size=3, padding=1)),
        ("act2", act()),
        ("pool", nn.MaxPool2d(2)),
        ("flatten", nn.Flatten()),
        ("fc1", nn.Linear(64 * (height // 2) * (width // 2), 256)),
        ("act3", act()),
        ("fc2", nn.Linear(256, 256)),
        ("act4", act()),
        ("output", nn.Linear(256, num_classes)),
    ]
    return nn.Sequential(OrderedDict(layers))
