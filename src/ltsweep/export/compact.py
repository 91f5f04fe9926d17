"""A masked network as a smaller dense one: units that nothing reaches, or that nothing reads, are removed.

A unit is an output of a linear layer or a channel of a convolution. A unit without surviving inputs is constant: its
value after bias, normalization and activation is the same for every example, and goes into the biases of the next
layer. Only a plain chain of layers is followed.
"""

import copy
import itertools
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from ltsweep.engine.stack import Tensors
from ltsweep.errors import UserError
from ltsweep.export.forms import masked
from ltsweep.words import shown

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Layers that treat every unit alike and apart from the others. Flatten is taken from the second axis on alone.
_APART = (
    *(nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid),
    *(nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.Softsign, nn.LogSigmoid),
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    nn.Flatten,
)
# Largest difference between the outputs, as a share of the largest output: rounding leaves a hundredth of it.
_TOLERANCE = 1e-4
# Random examples on which outputs are compared.
_EXAMPLES = 32

# Functions and methods that a forward pass may call in place of a layer.
_CALLED = {
    torch.relu: nn.ReLU,
    nn.functional.relu: nn.ReLU,
    torch.tanh: nn.Tanh,
    torch.sigmoid: nn.Sigmoid,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


@dataclass(frozen=True)
class Linked:
    """A layer with weights in a chain. Tensors are of its own units, its input's units or both.

    value: what enters it where the network sees zeros, (in_features) or (in, *space).
    """

    name: str
    layer: nn.Module
    weight: Tensor  # (out, in, *kernel), zero where pruned
    mask: Tensor  # (out, in, *kernel)
    value: Tensor

    @property
    def pads(self) -> bool:
        """Return whether zeros are laid around the input, so that a constant picture is not one to it."""
        padding = getattr(self.layer, "padding", 0)
        sides = (0,) if padding == "valid" else (1,) if isinstance(padding, str) else padding
        return getattr(self.layer, "padding_mode", "") == "zeros" and any(sides if isinstance(sides, tuple) else ())

    def reads(self, units: int) -> Tensor:
        """Return which of its units read which of the layer before, which has so many: booleans (out, units)."""
        return self.mask.ne(0).reshape(len(self.mask), units, -1).any(2)


@torch.no_grad()
def compact(model: nn.Module, weights: Tensors, masks: Tensors, input_shape: Sequence[int]) -> nn.Sequential:
    """Return a dense network in evaluation mode with the outputs of `model` under weights and masks, up to rounding.

    weights: the parameters and buffers, masks: of some of them, name -> (*shape). input_shape: of one example. `model`
    is left as it was. The outputs are compared on random examples. Raises UserError for a network that is no plain
    chain of linear layers, convolutions, batch norms, activations and poolings.
    """
    model = copy.deepcopy(model).eval()
    model.load_state_dict(masked(weights, masks), strict=False)
    layers = chain(model)
    places = {name: name.rpartition(".") for name in masks}
    of_layer = {model.get_submodule(place): masks[name] for name, (place, _, own) in places.items() if own == "weight"}
    linked = _linked(layers, of_layer, input_shape)
    keeps = _keeps(linked)
    units = [torch.ones(linked[0].weight.shape[1], dtype=torch.bool), *keeps]
    smaller = {link.name: _smaller(link, *pair) for link, pair in zip(linked, itertools.pairwise(units), strict=True)}
    keep = None
    for name, layer in layers:
        keep = keeps[list(smaller).index(name)] if name in smaller else keep
        if isinstance(layer, _NORMS) and keep is not None:
            smaller[name] = _sliced(layer, keep)
    network = nn.Sequential(OrderedDict((name, smaller.get(name, layer)) for name, layer in layers)).eval()
    difference, largest = farthest(network, model, input_shape)
    if not difference <= _TOLERANCE * largest:
        raise UserError(f"the compacted network is {difference:.2g} off, so the model does not do what its layers say")
    return network


def chain(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the layers that an input passes, in order, under names without dots. Raises UserError for other models."""
    try:
        nodes = list(fx.symbolic_trace(model).graph.nodes)
    except Exception as error:  # whatever a forward pass does that cannot be traced
        raise UserError(f"the model's forward pass cannot be followed: {shown(str(error))}") from error
    layers: list[tuple[str, nn.Module]] = []
    taken: set[nn.Module] = set()
    last = nodes[0]
    for node in nodes[1:-1]:
        if node.all_input_nodes != [last]:
            raise UserError(f"the model is no plain chain of layers: {shown(node.format_node() or node.name)}")
        layer = _layer(model, node)
        if type(layer) not in (*_APART, *_NORMS, nn.Linear, *_CONVOLUTIONS) or not _is_plain(layer):
            raise UserError(f"a layer of the model is not followed: {shown(node.name)}, {shown(repr(layer))}")
        if layer in taken and list(layer.parameters()):
            raise UserError(f"the model uses the weights of {shown(node.name)} twice")
        taken.add(layer)
        layers.append((node.name, layer))
        last = node
    if nodes[-1].all_input_nodes != [last]:
        raise UserError("the model is no plain chain of layers: its last layer is not its output")
    return layers


def _layer(model: nn.Module, node: fx.Node) -> nn.Module:
    """Return what a step of a forward pass does as a layer. Raises UserError where there is none."""
    if node.op == "call_module":
        return model.get_submodule(str(node.target))
    rest = (*node.args[1:], *node.kwargs.values())
    if node.target in (torch.flatten, "flatten") and rest == (1,):
        return nn.Flatten()
    if node.target in _CALLED and not {*node.kwargs} - {"inplace"}:
        made: nn.Module = _CALLED[node.target]()
        return made
    raise UserError(f"a step of the model's forward pass is not followed: {shown(node.format_node() or node.name)}")


def _is_plain(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Flatten):
        return (layer.start_dim, layer.end_dim) == (1, -1)
    return getattr(layer, "groups", 1) == 1 and getattr(layer, "running_mean", 0) is not None


def _linked(
    layers: Sequence[tuple[str, nn.Module]], masks: Mapping[nn.Module, Tensor], input_shape: Sequence[int]
) -> list[Linked]:
    """Return the layers with weights, each with what enters it where the network sees zeros."""
    found: list[Linked] = []
    value = torch.zeros(1, *input_shape)
    for name, layer in layers:
        before = value
        value = layer(before)
        if isinstance(layer, (nn.Linear, *_CONVOLUTIONS)):
            if isinstance(layer, nn.Linear) and before.dim() != 2:
                raise UserError(f"the linear layer {shown(name)} reads pictures, and only flat inputs are followed")
            mask = masks.get(layer, torch.ones_like(layer.weight))
            found.append(Linked(name, layer, layer.weight, mask, before[0]))
        elif not isinstance(layer, nn.Flatten) and value.shape[:2] != before.shape[:2]:
            raise UserError(f"the layer {shown(name)} mixes units, and is not followed")
    if not found:
        raise UserError("the model has no linear layer or convolution")
    return found


def _keeps(linked: Sequence[Linked]) -> list[Tensor]:
    """Return for each layer which of its units stay, booleans (out,): all of the last layer, one or more of others."""
    constant = [torch.zeros(linked[0].weight.shape[1], dtype=torch.bool)]  # of the inputs, then of each layer's units
    for link in linked:
        constant.append(~(link.reads(len(constant[-1])) & ~constant[-1]).any(1))
    keeps = [torch.ones(len(linked[-1].weight), dtype=torch.bool)]
    for place in range(len(linked) - 2, -1, -1):
        after, units = linked[place + 1], len(linked[place].weight)
        keep = after.reads(units)[keeps[0]].any(0) & ~(constant[place + 1] & _folds(after, units))
        if not keep.any():
            keep[0] = True  # a layer of no units is refused by convolutions
        keeps.insert(0, keep)
    return keeps


def _folds(link: Linked, units: int) -> Tensor:
    """Return for each unit before a layer whether its constant value adds the same to every place of the layer.

    A convolution that pads with zeros sees an edge around a constant picture, unless that is zero too.
    """
    if isinstance(link.layer, nn.Linear):
        return torch.ones(units, dtype=torch.bool)
    values = link.value.flatten(1)  # (units, places)
    alike = (values == values[:, :1]).all(1)
    return alike & (values[:, 0] == 0) if link.pads else alike


def _smaller(link: Linked, before: Tensor, keep: Tensor) -> nn.Module:
    """Return a layer with some of its units, and of those before it; what the constant ones gave is in its bias."""
    layer, inputs = copy.deepcopy(link.layer), _spread(before, link.weight.shape[1])
    value = link.value if link.value.dim() == 1 else link.value.flatten(1)[:, 0]
    kernel = link.weight.flatten(2).sum(2) if link.weight.dim() > 2 else link.weight  # (out, in)
    constant = kernel[:, ~inputs].double() @ value[~inputs].double()
    own: Tensor | None = getattr(link.layer, "bias", None)
    old = torch.zeros(len(kernel)) if own is None else own
    bias = (old.double() + constant).to(link.weight.dtype)[keep]
    layer.weight = nn.Parameter(link.weight[keep][:, inputs].clone())
    layer.register_parameter("bias", nn.Parameter(bias) if own is not None or bias.any() else None)
    into, out = ("in_features", "out_features") if isinstance(layer, nn.Linear) else ("in_channels", "out_channels")
    setattr(layer, into, int(inputs.sum()))
    setattr(layer, out, int(keep.sum()))
    return layer


def _sliced(norm: nn.Module, keep: Tensor) -> nn.Module:
    """Return a batch norm of some of its units, which may be several features each, after a flattening."""
    norm = copy.deepcopy(norm)
    some = _spread(keep, len(norm.running_mean))  # type: ignore[arg-type]
    for name in ("weight", "bias"):
        if (value := getattr(norm, name)) is not None:
            setattr(norm, name, nn.Parameter(value[some].clone()))
    for name in ("running_mean", "running_var"):
        norm.register_buffer(name, getattr(norm, name)[some].clone())
    setattr(norm, "num_features", int(some.sum()))  # noqa: B010  # mypy takes a layer's attributes for tensors
    return norm


def _spread(units: Tensor, features: int) -> Tensor:
    """Return which features belong to some units, each unit being as many features in a row."""
    return units.repeat_interleave(features // len(units))


def source(network: nn.Sequential, file: str) -> str:
    """Return a Python module whose function `network` makes a plain chain of layers anew, as PyTorch alone reads it."""
    # torch writes the names among a convolution's settings without quotes
    made = {
        name: re.sub(r"(padding|padding_mode)=([a-z]+)", r"\1='\2'", repr(one))
        for name, one in network.named_children()
    }
    lines = [f"        ({name!r}, nn.{text})," for name, text in made.items()]
    return "\n".join(
        [
            f'"""The network of {file}:',
            "",
            "    from safetensors.torch import load_file",
            "    model = network()",
            f'    model.load_state_dict(load_file("{file}"))',
            '"""',
            "",
            "from collections import OrderedDict",
            "",
            "from torch import nn",
            "",
            "",
            "def network() -> nn.Sequential:",
            '    """Return the network, in evaluation mode, with weights of its own making."""',
            "    layers = [",
            *lines,
            "    ]",
            "    return nn.Sequential(OrderedDict(layers)).eval()",
            "",
        ]
    )


def farthest(network: nn.Module, other: nn.Module, input_shape: Sequence[int]) -> tuple[float, float]:
    """Return the largest difference between two networks' outputs on random examples, and the largest output."""
    x = torch.randn(_EXAMPLES, *input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, two = network(x), other(x)
    return float((one - two).abs().max()), float(two.abs().max())
