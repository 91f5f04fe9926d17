"""The parts that models have in common: activations, scaled widths, and the fully connected end.

Letters: B examples a batch, N features.
"""

from collections.abc import Callable, Sequence

from torch import nn

from ltsweep.errors import UserError
from ltsweep.models.dropout import Dropout
from ltsweep.words import shown

Layers = list[tuple[str, nn.Module]]


def find_activation(name: str, negative_slope: float) -> Callable[[], nn.Module]:
    """Return the class of an activation by its name. Raises UserError for an unknown name."""
    choices: dict[str, Callable[[], nn.Module]] = {
        "relu": nn.ReLU,
        "leaky_relu": lambda: nn.LeakyReLU(negative_slope),
    }
    if name not in choices:
        raise UserError(f"model.activation={shown(name)} is unknown; choose one of {', '.join(choices)}")
    return choices[name]


def picture(input_shape: Sequence[int]) -> tuple[int, int, int]:
    """Return the channels, the height and the width of a picture. Raises UserError for any other shape."""
    if len(input_shape) != 3:
        raise UserError(
            f"model.input_shape={shown(list(input_shape))} is not that of pictures: channels, height, width"
        )
    channels, height, width = input_shape
    return channels, height, width


def context_of(input_shape: Sequence[int]) -> int:
    """Return the number of tokens of a text's window. Raises UserError for any other shape."""
    if len(input_shape) != 1:
        raise UserError(
            f"model.input_shape={shown(list(input_shape))} is not that of a text, a number of tokens; "
            "dataset=tiny_shakespeare and dataset=wikitext2 are texts"
        )
    return input_shape[0]


def scaled(sizes: Sequence[int], width: float, widths: Sequence[float] = ()) -> list[int]:
    """Return sizes times `width`, each rounded to a whole number, half to even, of at least 1.

    widths: a factor more for each of the sizes; empty for none. Raises UserError for another number of factors.
    """
    if widths and len(widths) != len(sizes):
        raise UserError(
            f"model.widths={shown(list(widths))} has {len(widths)} factors, and the model has {len(sizes)} sizes to "
            f"multiply: {shown(list(sizes))}"
        )
    return [max(1, round(width * own * size)) for size, own in zip(sizes, widths or [1.0] * len(sizes), strict=True)]


def dense_end(
    inputs: int,
    hidden: Sequence[int],
    num_classes: int,
    act: Callable[[], nn.Module],
    dropout: float,
    first: int = 1,
    normalized: bool = False,
) -> Layers:
    """Return fully connected layers (B, N) -> (B, num_classes), each hidden one with its activation and dropout.

    first: the number of the first activation, which goes into its name. dropout: the share of a hidden layer's units
    that a step drops; 0 for none. normalized: batch norm in place of the bias of each hidden layer.
    """
    layers: Layers = []
    for number, size in enumerate(hidden, start=1):
        layers.append((f"fc{number}", nn.Linear(inputs, size, bias=not normalized)))
        layers += [(f"fc_bn{number}", nn.BatchNorm1d(size))] if normalized else []
        layers.append((f"act{first + number - 1}", act()))
        layers += [(f"drop{number}", Dropout(dropout))] if dropout else []
        inputs = size
    return [*layers, ("output", nn.Linear(inputs, num_classes))]
