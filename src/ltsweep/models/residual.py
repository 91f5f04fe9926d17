"""Residual networks for CIFAR (He et al. 2016, section 4.2).

Letters: B examples a batch, C channels, H and W height and width of a picture.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn.functional import pad

from ltsweep.errors import UserError
from ltsweep.models.parts import Layers, find_activation, picture, scaled
from ltsweep.words import shown

SHORTCUTS = ("padded", "projection")


def resnet(
    input_shape: Sequence[int],
    num_classes: int,
    blocks: int = 3,
    shortcut: str = "padded",
    activation: str = "relu",
    negative_slope: float = 0.01,
    width: float = 1.0,
    widths: Sequence[float] = (),
) -> nn.Sequential:
    """Return a residual network of 6 * blocks + 2 layers for CIFAR: (B, C, H, W) -> logits (B, num_classes).

    A 3x3 convolution of 16 channels; three stages of `blocks` residual blocks of 16, 32 and 64 channels, each block two
    3x3 convolutions with batch norm; an average over the picture; one fully connected layer. width: a factor of the
    channels; widths: a factor more for each stage. shortcut, where the channels grow: `padded` with zeros (He et al.'s
    option A, without weights), or `projection`, a 1x1 convolution with batch norm (option B, which has the counts of
    Frankle & Carbin's "ResNet-18").
    """
    if shortcut not in SHORTCUTS:
        raise UserError(f"model.shortcut={shown(shortcut)} is unknown; choose one of {', '.join(SHORTCUTS)}")
    act = find_activation(activation, negative_slope)
    stages = scaled((16, 32, 64), width, widths)
    inputs = stages[0]
    layers: Layers = [
        ("conv", nn.Conv2d(picture(input_shape)[0], inputs, kernel_size=3, padding=1, bias=False)),
        ("bn", nn.BatchNorm2d(inputs)),
        ("act", act()),
    ]
    for stage, size in enumerate(stages):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            layers.append((f"block{stage * blocks + block + 1}", Block(inputs, size, stride, shortcut, act)))
            inputs = size
    layers += [("average", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]
    return nn.Sequential(OrderedDict([*layers, ("output", nn.Linear(inputs, num_classes))]))


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (B, inputs, H, W) -> (B, size, H / stride, W / stride), rounded up."""

    def __init__(self, inputs: int, size: int, stride: int, shortcut: str, act: Callable[[], nn.Module]) -> None:
        """Make the layers; a shortcut has weights only if it is a projection and its ends differ in shape."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, size, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(size)
        self.act1 = act()
        self.conv2 = nn.Conv2d(size, size, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(size)
        self.act2 = act()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != size:
            self.shortcut = (
                Padded(size - inputs, stride)
                if shortcut == "padded"
                else nn.Sequential(nn.Conv2d(inputs, size, 1, stride, bias=False), nn.BatchNorm2d(size))
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for x: (B, inputs, H, W)."""
        inner = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))  # (B, size, H / stride, W / stride)
        out: Tensor = self.act2(inner + self.shortcut(x))
        return out


class Padded(nn.Module):
    """A shortcut without weights: every `stride`-th pixel, with `more` channels of zeros."""

    def __init__(self, more: int, stride: int) -> None:
        """Keep the number of channels to add and the stride."""
        super().__init__()
        self.more, self.stride = more, stride

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C + more, H / stride, W / stride), rounded up, for x: (B, C, H, W)."""
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
