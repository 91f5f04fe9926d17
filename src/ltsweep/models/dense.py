"""Fully connected networks."""

from collections import OrderedDict
from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from ltsweep.errors import UserError
from ltsweep.models.parts import Layers, dense_end, find_activation, scaled
from ltsweep.words import shown

FORMS = ("ramp", "repeat")


def mlp(
    input_shape: Sequence[int],
    num_classes: int,
    hidden: Sequence[int] = (300, 100),
    activation: str = "relu",
    negative_slope: float = 0.01,
    width: float = 1.0,
    dropout: float = 0.0,
    depth: int | None = None,
    form: str = "ramp",
    widths: Sequence[float] = (),
) -> nn.Sequential:
    """Return a fully connected network: (B, *input_shape) -> logits (B, num_classes).

    hidden: units of each hidden layer. width: a factor of them; widths: a factor more for each. dropout: the share of
    them that a step drops. depth, form: the hidden layers that `drawn_out` makes of `hidden`; with a depth of None it
    is taken as it is.
    """
    act = find_activation(activation, negative_slope)
    sizes = hidden if depth is None else drawn_out(hidden, depth, form)
    end = dense_end(prod(input_shape), scaled(sizes, width, widths), num_classes, act, dropout)
    return nn.Sequential(OrderedDict([("flatten", nn.Flatten()), *end]))


def drawn_out(hidden: Sequence[int], depth: int, form: str) -> list[int]:
    """Return the units of `depth` hidden layers: by `repeat` those of `hidden` over and over.

    By `ramp` in even steps from the first of `hidden` to the last of at most two, each rounded half to even. Raises
    UserError for an unknown form, or for sizes of which it cannot be made.
    """
    if form not in FORMS:
        raise UserError(f"model.form={shown(form)} is unknown; choose one of {', '.join(FORMS)}")
    most = 2 if form == "ramp" else depth
    if not 1 <= len(hidden) <= most:
        allowed = "one size, or the first and the last" if form == "ramp" else f"1 to {depth} sizes"
        raise UserError(
            f"model.hidden={shown(list(hidden))} is out of range with model.depth={depth} and model.form={form}: "
            f"it is {allowed}"
        )
    if form == "repeat":
        return [hidden[layer % len(hidden)] for layer in range(depth)]
    first, last = hidden[0], hidden[-1]
    return [round(first + (last - first) * layer / max(1, depth - 1)) for layer in range(depth)]


def lenet_300_100(
    input_shape: Sequence[int], num_classes: int, activation: str = "relu", negative_slope: float = 0.01
) -> nn.Sequential:
    """Return LeNet-300-100 (Frankle & Carbin 2019, figure 2): (B, *input_shape) -> logits (B, num_classes)."""
    return mlp(input_shape, num_classes, (300, 100), activation, negative_slope)


def residual_mlp(
    input_shape: Sequence[int],
    num_classes: int,
    depth: int = 10,
    layers: int = 1,
    units: int = 5,
    b: float = 1.0,
    activation: str = "relu",
    negative_slope: float = 0.01,
) -> nn.Sequential:
    """Return a fully connected residual network: (B, *input_shape) -> logits (B, num_classes).

    f_0 is one layer, and f_l = f_{l-1} + b^l * module_l(f_{l-1}) for l from 1 to `depth` (Hanin & Rolnick 2018, section
    4); a module is `layers` layers. All layers have `units` units, each its activation.
    """
    act = find_activation(activation, negative_slope)
    found: Layers = [("flatten", nn.Flatten()), ("fc0", nn.Linear(prod(input_shape), units)), ("act0", act())]
    for number in range(1, depth + 1):
        each = ((("fc", nn.Linear(units, units)), ("act", act())) for _ in range(layers))
        module = [(f"{name}{place}", one) for place, pair in enumerate(each, start=1) for name, one in pair]
        found.append((f"module{number}", Residual(OrderedDict(module), b**number)))
    return nn.Sequential(OrderedDict([*found, ("output", nn.Linear(units, num_classes))]))


class Residual(nn.Sequential):
    """Layers whose outputs are scaled and added to their inputs: x + eta * layers(x), (B, N) -> (B, N)."""

    one_layer = True  # of the network, to a measurement of layers

    def __init__(self, layers: "OrderedDict[str, nn.Module]", eta: float) -> None:
        """Keep the layers and the scale."""
        super().__init__(layers)
        self.eta = eta

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, N) for x: (B, N)."""
        inner = x
        for layer in self:
            inner = layer(inner)
        return x + self.eta * inner
