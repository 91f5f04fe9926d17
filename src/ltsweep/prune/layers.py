"""The prunable weights of a network, and the kind of layer of each."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import nn

from ltsweep.errors import UserError, did_you_mean
from ltsweep.words import shown

Kind: TypeAlias = Literal["conv", "fc", "embedding", "output"]


@dataclass(frozen=True)
class Layer:
    """A prunable weight: its parameter name, its shape in torch's layout and the kind of its layer."""

    name: str
    shape: tuple[int, ...]
    kind: Kind


def layers_of(model: nn.Module, prunable: Sequence[str] | None = None, output: str | None = None) -> list[Layer]:
    """Return the prunable weights of `model`, in its own order.

    prunable: patterns of parameter names, such as `features.*.weight`. Without patterns, every parameter of two or more
    dimensions is prunable, but no bias and no normalization. output: the name of the output layer's weight, by default
    the last prunable weight. Raises UserError for a pattern or a name that fits no parameter.
    """
    if prunable is not None and (isinstance(prunable, str) or not all(isinstance(one, str) for one in prunable)):
        raise UserError(
            f"model.prunable={shown(prunable)} is out of range: it is a list of patterns, such as ['*.weight']"
        )
    if output is not None and not isinstance(output, str):
        raise UserError(f"model.output={shown(output)} is out of range: it is the name of a parameter")
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    for pattern in (*(prunable or ()), *([output] if output is not None else [])):
        if not fnmatch.filter(shapes, pattern):
            hint = did_you_mean(pattern, shapes)
            raise UserError(f"{pattern} fits no parameter of the model; {hint}there are {', '.join(shapes)}")
    if prunable is None:
        names = [name for name, shape in shapes.items() if len(shape) >= 2]
    else:
        names = [name for name in shapes if any(fnmatch.fnmatchcase(name, pattern) for pattern in prunable)]
    if not names:
        raise UserError(
            "the model has nothing to prune: "
            + (
                "no parameter of two or more dimensions"
                if prunable is None
                else f"model.prunable={shown(list(prunable))}"
            )
        )
    last = output if output is not None else names[-1]

    embeddings = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}

    def kind(name: str) -> Kind:
        if name == last:
            return "output"
        if name in embeddings:
            return "embedding"
        return "conv" if len(shapes[name]) > 2 else "fc"

    return [Layer(name, shapes[name], kind(name)) for name in names]
