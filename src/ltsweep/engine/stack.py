"""The stack: C networks of equal shape as one program. The only file that imports torch.func.

Letters: C networks, B examples a batch, K classes, I and O the inputs and outputs of a linear layer.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class State:
    """Everything that differs between the networks of a stack, name -> (C, *shape) in torch's layout.

    `masks` holds zeros and ones for the prunable weights alone; a masked weight is exactly zero.
    """

    params: Tensors
    buffers: Tensors
    masks: Tensors


class Network:
    """A template written for one network, lifted over C of them.

    The weights of linear layers lie in memory as (C, I, O), the layout in which backward makes their gradients: left in
    torch's layout, each gradient would be copied transposed, a fifth of the step. They are seen as (C, O, I), as views.
    """

    def __init__(self, model: nn.Module, precision: str = "float32") -> None:
        """Take a copy of `model` as the template; its own values are never used.

        precision: with `bf16`, what torch's autocast deems safe is computed in that format, from float32 weights.
        """
        self._bf16 = precision == "bf16"
        self.template = copy.deepcopy(model).to("meta")
        self.parameters = [name for name, _ in model.named_parameters()]
        self._linear = {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, nn.Linear)}

    def transposed(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Return views with the linear weights' last two axes exchanged: from torch's layout to memory's, and back."""
        return {name: value.mT if name in self._linear else value for name, value in tensors.items()}

    def stack(
        self, networks: Sequence[Mapping[str, Tensor]], masks: Sequence[Mapping[str, Tensor]], device: torch.device
    ) -> State:
        """Return a fresh state of C = len(networks) networks; nothing of it aliases what was passed."""

        def together(tensors: Sequence[Mapping[str, Tensor]]) -> Tensors:
            each = [self.transposed(one) for one in tensors]
            return self.transposed({name: torch.stack([one[name] for one in each]).to(device) for name in each[0]})

        values, mask = together(networks), together(masks)
        params = {name: values.pop(name) for name in self.parameters}
        for name, keep in mask.items():
            params[name].mul_(keep)
        return State(params, values, mask)

    def __call__(
        self, params: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor, training: bool
    ) -> Tensor:
        """Return logits (C, B, K), in training for x of (C, B, *shape), in evaluation for x of (B, *shape).

        In training, running statistics in `buffers` are updated in place.
        """
        self.template.train(training)

        def one(p: Tensors, b: Tensors, inputs: Tensor) -> Tensor:
            return functional_call(self.template, (p, b), (inputs,))  # type: ignore[no-any-return]

        # Without its cache, which a CUDA graph cannot look into.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._bf16, cache_enabled=False):
            logits: Tensor = vmap(one, in_dims=(0, 0, 0 if training else None))(dict(params), dict(buffers), x)
        return logits.float() if self._bf16 else logits

    def activations(self, input_shape: Sequence[int]) -> list[int]:
        """Return how many numbers one example is as input, and as each module makes of it."""
        sizes = [math.prod(input_shape)]
        hooks = [
            module.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.numel()))
            for module in self.template.modules()
            if not list(module.children())
        ]
        self.template.eval()(torch.empty(1, *input_shape, device="meta"))
        for hook in hooks:
            hook.remove()
        return sizes
