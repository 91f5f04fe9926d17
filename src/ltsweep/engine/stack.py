"""The stack: C networks of equal shape as one program. The only file that imports torch.func.

Letters: C networks, B examples a batch, N examples of a split, I and O the inputs and outputs of a linear layer.
"""

import copy
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

Tensors = dict[str, Tensor]

# Numbers that one layer's activations may have in an evaluation, over all networks. On a CPU so many stay in a core's
# caches; a GPU needs more to be busy.
ACTIVATIONS = {"cpu": 2 * 2**20, "cuda": 128 * 2**20}


@dataclass(frozen=True)
class State:
    """Everything that differs between the networks of a stack, name -> (C, *shape) in torch's layout.

    `masks` holds zeros and ones for the prunable weights alone; a masked weight is exactly zero or, where `held` has
    the layer, the number there, which is zero for the others. `memory` holds the tensors of `problem.Problem.memory`.
    `scores` holds a number for each prunable weight where these are trained in place of the weights: `params` then has
    all weights, masked ones too, which stay as they were drawn.
    """

    params: Tensors
    buffers: Tensors
    masks: Tensors
    memory: Tensors = field(default_factory=dict)
    held: Tensors = field(default_factory=dict)
    scores: Tensors = field(default_factory=dict)

    @property
    def used(self) -> Tensors:
        """Return the parameters that the forward pass uses, zero where they are masked and nothing is held."""
        if not self.scores:
            return self.params
        return {name: value * self.masks[name] if name in self.masks else value for name, value in self.params.items()}

    def every(self, step: int) -> "State":
        """Return networks 0, step, 2 * step, ... as views, without the problem's memory."""

        def take(tensors: Tensors) -> Tensors:
            return {name: value[::step] for name, value in tensors.items()}

        held, scores = take(self.held), take(self.scores)
        return State(take(self.params), take(self.buffers), take(self.masks), held=held, scores=scores)


class Network:
    """A template written for one network, lifted over C of them.

    Weights of linear layers lie in memory as (C, I, O), the layout in which backward makes their gradients. In torch's
    layout each gradient would be copied transposed, a fifth of the step. The state has views of them as (C, O, I).
    """

    def __init__(self, model: nn.Module, precision: str = "float32") -> None:
        """Copy the layers of `model` as the template; their values are never used.

        precision: `bf16` computes the operators that torch's autocast deems safe in that format, from float32 weights.
        """
        self._bf16 = precision == "bf16"
        self.template = copy.deepcopy(model).to("meta")
        self.parameters = [name for name, _ in model.named_parameters()]
        self._linear = {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, nn.Linear)}

    def transposed(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Return views with the last two axes of linear weights exchanged: torch's layout to memory's, or back."""
        return {name: value.mT if name in self._linear else value for name, value in tensors.items()}

    def stack(
        self,
        networks: Sequence[Mapping[str, Tensor]],
        masks: Sequence[Mapping[str, Tensor]],
        device: torch.device,
        held: Sequence[Mapping[str, Tensor] | None] = (),
        scores: Sequence[Mapping[str, Tensor]] = (),
    ) -> State:
        """Return a new state of C = len(networks) networks, which shares no memory with the arguments.

        held: for each network the values of its masked weights, zero elsewhere, or None where all of them are zero.
        scores: for each network a number for each prunable weight, or none where the weights are trained.
        """

        def together(tensors: Sequence[Mapping[str, Tensor]]) -> Tensors:
            each = [self.transposed(one) for one in tensors]
            return self.transposed({name: torch.stack([one[name] for one in each]).to(device) for name in each[0]})

        values, mask = together(networks), together(masks)
        params = {name: values.pop(name) for name in self.parameters}
        if scores:
            return State(params, values, mask, scores=together(scores))
        for name, keep in mask.items():
            params[name].mul_(keep)
        if all(one is None for one in held):
            return State(params, values, mask)
        nothing = {name: torch.zeros_like(value) for name, value in masks[0].items()}
        kept = together([one or nothing for one in held])
        for name, value in kept.items():
            params[name].add_(value)
        return State(params, values, mask, held=kept)

    def __call__(
        self,
        params: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: Tensor,
        training: bool = False,
        shared: bool = False,
    ) -> Tensor:
        """Return the outputs (C, B, *outputs) for inputs x: (C, B, *shape), or (B, *shape) that all networks share.

        In training, running statistics in `buffers` are updated in place.
        """
        self.template.train(training)

        def one(p: Tensors, b: Tensors, inputs: Tensor) -> Tensor:
            return functional_call(self.template, (p, b), (inputs,))  # type: ignore[no-any-return]

        # Without autocast's cache, which a CUDA graph cannot see into.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._bf16, cache_enabled=False):
            outputs: Tensor = vmap(one, in_dims=(0, 0, None if shared else 0))(dict(params), dict(buffers), x)
        return outputs.float() if self._bf16 else outputs

    def watched(
        self,
        params: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: Tensor,
        modules: Collection[str],
        read: Callable[[Tensor], Tensor],
    ) -> list[tuple[str, Tensor]]:
        """Return what `read` makes of the outputs of some modules, in the order in which an evaluation calls them.

        x: (C, B, *shape). read: of one network's outputs (B, *outputs). Each result has the leading axis C; a module
        that is called twice is in the list twice.
        """
        names: list[str] = []
        seen: list[Tensor] = []

        def noting(name: str) -> Callable[[nn.Module, object, Tensor], None]:
            def note(_module: nn.Module, _inputs: object, out: Tensor) -> None:
                names.append(name)
                seen.append(read(out))

            return note

        def one(p: Tensors, b: Tensors, inputs: Tensor) -> tuple[Tensor, ...]:
            functional_call(self.template, (p, b), (inputs,))
            return tuple(seen)

        hooks = [self.template.get_submodule(name).register_forward_hook(noting(name)) for name in modules]
        try:
            self.template.eval()
            found = vmap(one)(dict(params), dict(buffers), x)
        finally:
            for hook in hooks:
                hook.remove()
        return list(zip(names, found, strict=True))

    def activations(self, input_shape: Sequence[int], dtype: torch.dtype = torch.float32) -> list[int]:
        """Return the numbers that one example has as the input, and as the output of each module without children.

        A module with an attribute `tensors` makes so many tensors of its output's size, beside those of its children,
        and its output comes as often.
        """
        sizes = [math.prod(input_shape)]
        for module, out in self._calls(input_shape, dtype):
            sizes += [out] * getattr(module, "tensors", 1)
        return sizes

    def used_again(self, input_shape: Sequence[int], dtype: torch.dtype = torch.float32) -> int:
        """Return the numbers of the parameters of modules without children, as often as these are called again."""
        modules = [module for module, _ in self._calls(input_shape, dtype)]
        sizes = [sum(value.numel() for value in module.parameters(recurse=False)) for module in modules]
        return sum(sizes) - sum(dict(zip(modules, sizes, strict=True)).values())

    def _calls(self, input_shape: Sequence[int], dtype: torch.dtype) -> list[tuple[nn.Module, int]]:
        """Return each call of a module without children, or with `tensors`, and the numbers of one example's output."""
        calls: list[tuple[nn.Module, int]] = []
        hooks = [
            module.register_forward_hook(lambda m, _inputs, out: calls.append((m, out.numel())))
            for module in self.template.modules()
            if not list(module.children()) or hasattr(module, "tensors")
        ]
        on_zeros(self.template.eval(), torch.zeros(1, *input_shape, dtype=dtype))
        for hook in hooks:
            hook.remove()
        return calls


def on_zeros(model: nn.Module, x: Tensor, lifted: bool = False) -> Any:
    """Return the outputs of a model on the meta device for x: (B, *shape) on the CPU, with zeros for its weights.

    They have the precision of x, and those of a weight lie in the memory of one. A forward pass on the meta device
    itself would import torch's compiler, which takes seconds. lifted: run it as a stack of one, outputs (1, B, ...),
    where no number can be read back, as in training.
    """

    def dtype(value: Tensor) -> torch.dtype:
        return x.dtype if x.is_floating_point() and value.is_floating_point() else value.dtype

    zeros = {
        name: torch.zeros((), dtype=dtype(value), requires_grad=value.requires_grad).expand(1, *value.shape)
        for name, value in model.named_parameters()
    }
    zeros |= {name: torch.zeros(1, *value.shape, dtype=dtype(value)) for name, value in model.named_buffers()}

    def one(tensors: Tensors, inputs: Tensor) -> Any:
        return functional_call(model, tensors, (inputs,))

    return vmap(one)(zeros, x[None]) if lifted else one({name: value[0] for name, value in zeros.items()}, x)


@dataclass(frozen=True)
class Forward:
    """The C networks of a stack, with their present weights, as a function of their inputs.

    temperature: what the outputs are divided by.
    """

    network: Network
    weights: Tensors
    buffers: Tensors
    training: bool
    temperature: float = 1.0

    def __call__(self, x: Tensor, shared: bool = False) -> Tensor:
        """Return the outputs (C, B, *outputs) for x: (C, B, *shape), or with `shared` (B, *shape) for all networks."""
        outputs = self.network(self.weights, self.buffers, x, training=self.training, shared=shared)
        return outputs if self.temperature == 1 else outputs / self.temperature

    @property
    def networks(self) -> int:
        """Return C."""
        return len(next(iter(self.weights.values())))

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of the weights, which is that of the losses, whatever dtype the inputs have."""
        return next(iter(self.weights.values())).dtype

    def at_once(self, x: Tensor) -> int:
        """Return the batch size of an evaluation of examples like x: (B, *shape), at least 1."""
        widest = max(self.network.activations(x.shape[1:], x.dtype))
        return max(1, ACTIVATIONS[x.device.type] // (self.networks * widest))
