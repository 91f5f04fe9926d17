"""Convolutional networks without shortcuts: Conv-2, 4 and 6, AlexNet, VGG.

Letters: B examples a batch, H and W height and width of a picture.
"""

from collections import OrderedDict
from collections.abc import Sequence
from math import ceil

from torch import nn

from ltsweep.errors import UserError
from ltsweep.models.parts import Layers, dense_end, find_activation, picture, scaled


def conv(
    input_shape: Sequence[int],
    num_classes: int,
    channels: Sequence[int] = (64,),
    hidden: Sequence[int] = (256, 256),
    activation: str = "relu",
    negative_slope: float = 0.01,
    width: float = 1.0,
    dropout: float = 0.0,
    widths: Sequence[float] = (),
) -> nn.Sequential:
    """Return the Conv-2, 4, 6 family of Frankle & Carbin 2019, figure 2: (B, C, H, W) -> logits (B, num_classes).

    channels: for each block of two 3x3 convolutions, which keep the picture's size, and a 2x2 max-pool. Fully connected
    layers of `hidden` units follow. width: a factor of `channels` and `hidden`; widths: a factor more for each of them.
    dropout: the share of each hidden fully connected layer's units that a step drops.
    """
    act = find_activation(activation, negative_slope)
    inputs, rows, columns = picture(input_shape)
    shrinks = 2 ** len(channels)
    if min(rows, columns) < shrinks:
        raise UserError(
            f"model.channels={list(channels)} halves pictures {len(channels)} times, so they need {shrinks} pixels a "
            f"side; they are {rows}x{columns}"
        )
    sizes = scaled([*channels, *hidden], width, widths)
    layers: Layers = []
    for block, size in enumerate(sizes[: len(channels)], start=1):
        for number in (2 * block - 1, 2 * block):
            layers += [(f"conv{number}", nn.Conv2d(inputs, size, kernel_size=3, padding=1)), (f"act{number}", act())]
            inputs = size
        layers.append((f"pool{block}", nn.MaxPool2d(2)))
    inputs *= (rows // shrinks) * (columns // shrinks)
    end = dense_end(inputs, sizes[len(channels) :], num_classes, act, dropout, first=2 * len(channels) + 1)
    return nn.Sequential(OrderedDict([*layers, ("flatten", nn.Flatten()), *end]))


def lenet5(
    input_shape: Sequence[int], num_classes: int, activation: str = "relu", negative_slope: float = 0.01
) -> nn.Sequential:
    """Return "Lenet5" of Shu, Qi & Liang, the paper's Conv-2: (B, C, H, W) -> logits (B, num_classes).

    Two 3x3 convolutions of 64 channels that keep the picture's size, a 2x2 max-pool, then 256, 256, num_classes.
    """
    return conv(input_shape, num_classes, (64,), (256, 256), activation, negative_slope)


def alexnet(
    input_shape: Sequence[int],
    num_classes: int,
    hidden: Sequence[int] = (1024, 1024),
    activation: str = "relu",
    negative_slope: float = 0.01,
    width: float = 1.0,
    dropout: float = 0.0,
    widths: Sequence[float] = (),
) -> nn.Sequential:
    """Return AlexNet for CIFAR (Lee et al. 2019, appendix): (B, C, H, W) -> logits (B, num_classes).

    Five convolutions of stride 2 with batch norm take the place of strides and pools made for pictures of 224x224; then
    fully connected layers of `hidden` units with batch norm: 1024 twice in AlexNet-s, 2048 twice in AlexNet-b. width: a
    factor of channels and `hidden`. widths, dropout: as in `conv`.
    """
    act = find_activation(activation, negative_slope)
    inputs, rows, columns = picture(input_shape)
    kernels = (11, 5, 3, 3, 3)
    sizes = scaled([96, 256, 384, 384, 256, *hidden], width, widths)
    layers: Layers = []
    for number, (size, kernel) in enumerate(zip(sizes, kernels, strict=False), start=1):
        layers += _normalized(number, nn.Conv2d(inputs, size, kernel, stride=2, padding=kernel // 2, bias=False))
        layers.append((f"act{number}", act()))
        inputs = size
    inputs *= ceil(rows / 32) * ceil(columns / 32)
    end = dense_end(inputs, sizes[len(kernels) :], num_classes, act, dropout, first=6, normalized=True)
    return nn.Sequential(OrderedDict([*layers, ("flatten", nn.Flatten()), *end]))


def vgg(
    input_shape: Sequence[int],
    num_classes: int,
    blocks: Sequence[int] = (2, 2, 4, 4, 4),
    activation: str = "relu",
    negative_slope: float = 0.01,
    width: float = 1.0,
    widths: Sequence[float] = (),
) -> nn.Sequential:
    """Return VGG for CIFAR, by default VGG-19: (B, C, H, W) -> logits (B, num_classes).

    As in Frankle & Carbin 2019, section 4: Simonyan & Zisserman's 3x3 convolutions, each with batch norm; a 2x2
    max-pool between blocks, an average over the picture after the last, one fully connected layer. blocks: the number
    of convolutions in each block of 64, 128, 256, 512 and 512 channels. width: a factor of the channels; widths:
    a factor more for each block.
    """
    act = find_activation(activation, negative_slope)
    (inputs, _, _), number = picture(input_shape), 0
    layers: Layers = []
    for block, (size, depth) in enumerate(zip(scaled((64, 128, 256, 512, 512), width, widths), blocks, strict=True)):
        if block:
            # Rounding up, which matters where a side is odd: pictures of 28x28 and of 8x8 fit too.
            layers.append((f"pool{block}", nn.MaxPool2d(2, ceil_mode=True)))
        for _ in range(depth):
            number += 1
            layers += _normalized(number, nn.Conv2d(inputs, size, kernel_size=3, padding=1, bias=False))
            layers.append((f"act{number}", act()))
            inputs = size
    layers += [("average", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]
    return nn.Sequential(OrderedDict([*layers, ("output", nn.Linear(inputs, num_classes))]))


def _normalized(number: int, layer: nn.Conv2d) -> Layers:
    """Return a convolution and its batch norm, which makes a bias before it useless."""
    return [(f"conv{number}", layer), (f"bn{number}", nn.BatchNorm2d(layer.out_channels))]
