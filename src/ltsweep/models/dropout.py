"""Dropout that draws from each cell's own stream."""

import torch
from torch import Tensor, nn

from ltsweep.engine.noise import Noise
from ltsweep.errors import UserError
from ltsweep.words import shown

# Dropouts of torch and torchvision -> number of leading axes of the input that have numbers of their own, None for all.
# By name, since torchvision is slow to import.
_STOCK = {
    "torch.nn.modules.dropout.Dropout": None,
    "torch.nn.modules.dropout.Dropout1d": 2,
    "torch.nn.modules.dropout.Dropout2d": 2,
    "torch.nn.modules.dropout.Dropout3d": 2,
    "torchvision.ops.stochastic_depth.StochasticDepth": 1,
}


class Dropout(Noise):
    """Dropout (Srivastava et al. 2014) in place of torch's, which draws from one generator for all networks.

    In training each number is set to zero with probability `p`, and the others are divided by 1 - p.
    """

    def __init__(self, p: float = 0.5, axes: int | None = None) -> None:
        """Keep the probability p, from 0 to below 1. Raises UserError for any other.

        axes: 2 drops whole channels, 1 whole examples (stochastic depth, Huang et al. 2016), 0 the whole batch.
        """
        super().__init__()
        if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p < 1:
            raise UserError(f"a dropout of {shown(p)} is out of range: it is a number from 0 to below 1")
        self.p, self.axes = float(p), axes

    def forward(self, x: Tensor) -> Tensor:
        """Return x: (B, ...), in training with a share p of it zero."""
        if not self.training or not self.p:
            return x
        shape = x.shape if self.axes is None else (*x.shape[: self.axes], *(1 for _ in x.shape[self.axes :]))
        return torch.where(self.happens(1 - self.p, shape), x / (1 - self.p), 0.0)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"p={self.p}" + ("" if self.axes is None else f", axes={self.axes}")


def with_own_dropout(model: nn.Module) -> nn.Module:
    """Return `model`, changed in place: a `Dropout` for each dropout of torch and torchvision."""
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):
            stock = f"{type(child).__module__}.{type(child).__qualname__}"
            if child is not None and stock in _STOCK:
                axes = 0 if getattr(child, "mode", None) == "batch" else _STOCK[stock]
                setattr(module, name, Dropout(child.p, axes))  # type: ignore[arg-type]
    return model
