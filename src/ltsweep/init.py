"""Initializations: short functions from a shape and a generator to a weight, and the draw of a whole network.

A weight has torch's layout (out, in, *kernel): fan_in = in * prod(kernel), fan_out = out * prod(kernel).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ltsweep.engine.noise import stream_names
from ltsweep.errors import UserError
from ltsweep.rng import generator
from ltsweep.words import shown

Init = Callable[[Sequence[int], torch.Generator], Tensor]

GAINS = ("linear", "relu", "leaky_relu", "tanh", "sigmoid")
FAN_MODES = ("fan_in", "fan_out")


def _fans(shape: Sequence[int]) -> tuple[int, int]:
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def _fan(shape: Sequence[int], fan_mode: str) -> int:
    if fan_mode not in FAN_MODES:
        raise UserError(f"init.fan_mode={shown(fan_mode)} is unknown; choose one of {', '.join(FAN_MODES)}")
    return _fans(shape)[FAN_MODES.index(fan_mode)]


def _gain(gain: float | str, negative_slope: float) -> float:
    """Return a gain as a number, given so or by the activation that it compensates (He et al. 2015, eq. 14)."""
    if isinstance(gain, str):
        if gain not in GAINS:
            raise UserError(f"init.gain={shown(gain)} is unknown; give a number or one of {', '.join(GAINS)}")
        return nn.init.calculate_gain(gain, negative_slope)  # type: ignore[arg-type]  # just checked
    if not isinstance(gain, int | float) or isinstance(gain, bool) or not 0 < gain < math.inf:
        raise UserError(f"init.gain={shown(gain)} is out of range; give a number above 0 or one of {', '.join(GAINS)}")
    return float(gain)


def _std(shape: Sequence[int], fan_mode: str, gain: float | str, negative_slope: float) -> float:
    """Return gain / sqrt(fan)."""
    return _gain(gain, negative_slope) / math.sqrt(_fan(shape, fan_mode))


def xavier_uniform(
    shape: Sequence[int], rng: torch.Generator, gain: float | str = 1.0, negative_slope: float = 0.01
) -> Tensor:
    """Draw U(-a, a), a = gain * sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    bound = _gain(gain, negative_slope) * math.sqrt(6 / sum(_fans(shape)))
    return torch.empty(*shape).uniform_(-bound, bound, generator=rng)


def xavier_normal(
    shape: Sequence[int], rng: torch.Generator, gain: float | str = 1.0, negative_slope: float = 0.01
) -> Tensor:
    """Draw N(0, s^2), s = gain * sqrt(2 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 12)."""
    std = _gain(gain, negative_slope) * math.sqrt(2 / sum(_fans(shape)))
    return torch.empty(*shape).normal_(0.0, std, generator=rng)


def kaiming_uniform(
    shape: Sequence[int],
    rng: torch.Generator,
    fan_mode: str = "fan_in",
    gain: float | str = 1.0,
    negative_slope: float = 0.01,
) -> Tensor:
    """Draw U(-a, a), a = gain * sqrt(3 / fan) (He et al. 2015; without a gain the formula of Wijnja et al. 2020)."""
    bound = _gain(gain, negative_slope) * math.sqrt(3 / _fan(shape, fan_mode))
    return torch.empty(*shape).uniform_(-bound, bound, generator=rng)


def kaiming_normal(
    shape: Sequence[int],
    rng: torch.Generator,
    fan_mode: str = "fan_in",
    gain: float | str = 1.0,
    negative_slope: float = 0.01,
) -> Tensor:
    """Draw N(0, s^2), s = gain / sqrt(fan) (He et al. 2015, eq. 10; without a gain Wijnja et al. 2020)."""
    std = _std(shape, fan_mode, gain, negative_slope)
    return torch.empty(*shape).normal_(0.0, std, generator=rng)


def truncated_normal(
    shape: Sequence[int],
    rng: torch.Generator,
    fan_mode: str = "fan_in",
    gain: float | str = 1.0,
    negative_slope: float = 0.01,
) -> Tensor:
    """Draw N(0, s^2), s = gain / sqrt(fan), cut at two standard deviations and not rescaled.

    Cutting leaves 0.774 of the variance, so deep networks fail to train (Hanin & Rolnick 2018).
    """
    std = _std(shape, fan_mode, gain, negative_slope)
    return nn.init.trunc_normal_(torch.empty(*shape), 0.0, std, -2 * std, 2 * std, generator=rng)


def orthogonal(
    shape: Sequence[int], rng: torch.Generator, gain: float | str = 1.0, negative_slope: float = 0.01
) -> Tensor:
    """Draw an (out, in * prod(kernel)) matrix of orthonormal rows or columns, times the gain (Saxe et al. 2014)."""
    return nn.init.orthogonal_(torch.empty(*shape), _gain(gain, negative_slope), generator=rng)


def signed_constant(
    shape: Sequence[int],
    rng: torch.Generator,
    fan_mode: str = "fan_in",
    gain: float | str = 1.0,
    negative_slope: float = 0.01,
) -> Tensor:
    """Draw s or -s, each half of the time, s = gain / sqrt(fan) (Ramanujan et al. 2020).

    The signs are those that `kaiming_normal` draws from the same stream.
    """
    std = _std(shape, fan_mode, gain, negative_slope)
    return torch.where(torch.empty(*shape).normal_(generator=rng) < 0, -std, std)


def unsigned_constant(
    shape: Sequence[int],
    rng: torch.Generator,
    fan_mode: str = "fan_in",
    gain: float | str = 1.0,
    negative_slope: float = 0.01,
) -> Tensor:
    """Return s = gain / sqrt(fan) everywhere; nothing is drawn."""
    return torch.full(tuple(shape), _std(shape, fan_mode, gain, negative_slope))


def pytorch_default(shape: Sequence[int], rng: torch.Generator) -> Tensor:
    """Draw U(-a, a), a = 1 / sqrt(fan_in), as `reset_parameters` of nn.Linear and nn.Conv2d does."""
    bound = 1 / math.sqrt(_fan(shape, "fan_in"))
    return torch.empty(*shape).uniform_(-bound, bound, generator=rng)


def _pytorch_bias(weight_shape: Sequence[int], rng: torch.Generator) -> Tensor:
    bound = 1 / math.sqrt(_fan(weight_shape, "fan_in"))
    return torch.empty(weight_shape[0]).uniform_(-bound, bound, generator=rng)


pytorch_default.bias = _pytorch_bias  # type: ignore[attr-defined]


DRAWS = ("iid", "shuffle", "normal", "same")


@dataclass(frozen=True)
class Like:
    """Draws that are like the trained weights of a finished cell, layer by layer; biases are zero.

    source: <study>/<key>@<level>; of a level above 0 the weights that its mask leaves. step: of the cell's dense
    network, whose weights are taken; 0 for its initial ones, None for the last that it kept. draw: `iid` draws each
    weight from all of its layer, with replacement; `shuffle` puts them at random places; `normal` draws from the normal
    distribution of their mean and variance; `same` draws nothing, and has the weights themselves, with zeros where the
    mask leaves none. source_sha256: of the files. weights: layer -> (its shape, its weights), once they are read.
    """

    source: str | None = None
    step: int | None = None
    source_sha256: str = ""
    draw: str = "iid"
    weights: Mapping[str, tuple[Sequence[int], Tensor]] | None = None

    def __post_init__(self) -> None:
        """Raise UserError for an unknown way to draw."""
        if self.draw not in DRAWS:
            raise UserError(f"init.draw={shown(self.draw)} is unknown; choose one of {', '.join(DRAWS)}")
        if self.weights is not None and not isinstance(self.weights, dict):
            raise UserError("init.weights is read from the files of init.source, and not given")

    def __call__(self, shape: Sequence[int], rng: torch.Generator) -> Tensor:
        """Raise UserError: a draw has to be told its layer."""
        raise UserError("init=like draws the layers of a whole network alone")

    def of(self, layer: str) -> Init:
        """Return the initialization of one layer, a name of a weight."""
        assert self.weights is not None, "the source is not read yet"
        _, values = self.weights[layer]

        def drawn(shape: Sequence[int], rng: torch.Generator) -> Tensor:
            if self.draw == "normal":
                std, mean = torch.std_mean(values.double(), correction=0)
                return torch.empty(*shape).normal_(float(mean), float(std), generator=rng)
            if self.draw == "same":
                return values.view(*shape).clone()
            n = len(values)
            shuffled = self.draw == "shuffle"
            place = torch.randperm(n, generator=rng) if shuffled else torch.randint(n, tuple(shape), generator=rng)
            return values[place].view(*shape)

        return drawn

    def check(self, model: nn.Module) -> None:
        """Raise UserError unless the source has a layer of this shape for each weight of `model`, with weights left."""
        assert self.weights is not None, "the source is not read yet"
        for name, weight in model.named_parameters():
            if weight.dim() < 2:
                continue
            shape, values = self.weights.get(name, ((), torch.empty(0)))
            if tuple(shape) != tuple(weight.shape):
                there = f"of shape {list(shape)}" if shape else "absent"
                raise UserError(
                    f"init.source={shown(self.source)} is of another network: its {shown(name)} is {there}, and here "
                    f"of shape {list(weight.shape)}"
                )
            if len(values) < (weight.numel() if self.draw == "shuffle" else 1):
                raise UserError(
                    f"init.source={shown(self.source)} leaves {len(values)} of the {weight.numel()} weights of "
                    f"{shown(name)}, too few for init.draw={self.draw}; @0 has all"
                )


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer of `model` by its name, but random streams, which begin anew at each level."""
    streams = stream_names(model)
    every = (*model.named_parameters(), *model.named_buffers())
    return {name: value for name, value in every if name not in streams}


def draw(model: nn.Module, init: Init, seed: int, *purpose: str | int) -> dict[str, Tensor]:
    """Draw one network: name -> tensor, every parameter and buffer of `model` but random streams, in torch's layout.

    Weights (two or more dimensions) come from `init`, each from a stream of its own; `Like` is told their names. Their
    biases are zero, as in the papers, unless `init` has an attribute `bias`: a function from the shape of the weight
    and a generator to the bias.
    Normalization parameters and buffers keep the values of `model`.
    """
    drawn = {name: value.detach().clone() for name, value in tensors_of(model).items()}
    draw_bias: Init | None = getattr(getattr(init, "func", init), "bias", None)
    for name, weight in model.named_parameters():
        if weight.dim() < 2:
            continue
        own: Init = init.of(name) if isinstance(init, Like) else init
        drawn[name] = own(tuple(weight.shape), generator(seed, *purpose, name))
        bias = name.removesuffix("weight") + "bias"
        if name.endswith("weight") and bias in drawn:
            rng = generator(seed, *purpose, bias)
            drawn[bias] = torch.zeros_like(drawn[bias]) if draw_bias is None else draw_bias(tuple(weight.shape), rng)
    return drawn
