"""The length scale of each layer (Hanin & Rolnick 2018): M_j = ||act_j||^2 / n_j of its n_j activations.

Letters: C networks of a stack, B examples.
"""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ltsweep.engine.look import SCORED, Look
from ltsweep.errors import UserError, did_you_mean
from ltsweep.measure.reading import Moment, Reading, check_moments
from ltsweep.words import shown

INPUTS = ("real", "unit", "gaussian")

# Examples of a network that are measured at once.
_MOST = 10_000


@dataclass(frozen=True)
class Lengths:
    """The mean over examples of M_j for each layer j, and how far the layers differ.

    length: M_j of layer `place`, at j; M_0 is that of the input, without a place. units: n_j there. length_variance:
    the empirical variance of M_1 to M_d, the mean of their squares less the square of their mean.

    inputs: `real` training examples, the same with a norm of 1 (`unit`), or `gaussian` numbers. examples: of each
    network, drawn by its seed. layers: patterns of module names; None takes each activation function, and a module with
    an attribute `one_layer` in place of those inside it. Normalization is that of an evaluation.
    """

    inputs: str = "real"
    examples: int = 1
    layers: Sequence[str] | None = None
    moments: Sequence[Moment] = ("start",)

    def __post_init__(self) -> None:
        """Raise UserError for values out of range."""
        if self.inputs not in INPUTS:
            raise UserError(
                f"measure.lengths.inputs={shown(self.inputs)} is out of range: it is one of {', '.join(INPUTS)}"
            )
        if isinstance(self.examples, bool) or not isinstance(self.examples, int) or not 1 <= self.examples <= _MOST:
            raise UserError(
                f"measure.lengths.examples={shown(self.examples)} is out of range: it is a whole number from 1 to "
                f"{_MOST:,}"
            )
        named = self.layers is None or (
            isinstance(self.layers, list | tuple) and all(isinstance(name, str) for name in self.layers)
        )
        if not named or self.layers == []:
            raise UserError(
                f"measure.lengths.layers={shown(self.layers)} is out of range: it is null, or a list of module names"
            )
        check_moments("lengths", self.moments)

    def check(self, model: nn.Module) -> None:
        """Raise UserError for a model without such layers, or one that takes tokens, which have no length."""
        own = (module for module in model.modules() if next(module.parameters(recurse=False), None) is not None)
        if isinstance(next(own, None), nn.Embedding):
            raise UserError("measure=lengths is of networks whose inputs are numbers; this one takes tokens")
        self.places(model)

    def places(self, model: nn.Module) -> list[str]:
        """Return the names of the modules whose outputs are layers. Raises UserError where there are none."""
        names = [name for name, _ in model.named_modules() if name]
        if self.layers is None:
            found = list(_layers(model))
            if not found:
                raise UserError(
                    "measure.lengths.layers: the model has no module that is an activation function; "
                    f"name its layers, such as measure.lengths.layers=[{names[0] if names else ''}]"
                )
            return found
        for pattern in self.layers:
            if not fnmatch.filter(names, pattern):
                raise UserError(
                    f"measure.lengths.layers: the model has no module {shown(pattern)}; "
                    f"{did_you_mean(pattern, names)}there are {shown(', '.join(names), 200)}"
                )
        return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.layers)]

    def __call__(self, look: Look) -> Iterator[Reading]:
        """Yield two readings for the input and each layer, and the variance over layers."""
        assert look.stage is not None
        network = look.stage.network
        x = self._inputs(look)  # (C, B, *shape)
        with torch.no_grad():
            layers = network.watched(look.state.used, look.state.buffers, x, self.places(network.template), _length)
        for number, (place, values) in enumerate([("", torch.stack([_length(one) for one in x])), *layers]):
            yield Reading("length", place, number, values[:, 0])
            yield Reading("units", place, number, values[:, 1])
        lengths = torch.stack([values[:, 0] for _, values in layers])  # (layers, C)
        yield Reading("length_variance", "", None, lengths.var(0, unbiased=False))

    def _inputs(self, look: Look) -> Tensor:
        assert look.stage is not None
        x = look.inputs(self.examples)
        if self.inputs == "unit":
            norms = x.flatten(2).norm(dim=2).clamp(min=torch.finfo(x.dtype).tiny)  # (C, B)
            scaled: Tensor = x / norms.view(*norms.shape, *(1 for _ in x.shape[2:]))
            return scaled
        if self.inputs == "gaussian":
            every = [
                torch.randn(x.shape[1:], generator=draws.generator("", "lengths", SCORED))
                for draws in look.stage.draws
                for _ in range(draws.networks)
            ]
            return torch.stack(every).to(x)
        return x


def _layers(model: nn.Module, inside: str = "") -> Iterator[str]:
    """Yield the names of the activation functions, and of modules with an attribute `one_layer` in place of theirs."""
    for name, child in model.named_children():
        if getattr(child, "one_layer", False) or type(child).__module__ == nn.ReLU.__module__:
            yield inside + name
        else:
            yield from _layers(child, f"{inside}{name}.")


def _length(outputs: Tensor) -> Tensor:
    """Return the mean square of outputs (B, ...), and how many an example has; in float64, so that none underflows."""
    mean = outputs.double().square().mean()
    return torch.stack([mean, torch.full_like(mean, outputs[0].numel())])
