"""Torch's optimizers, dispatch modes and meta device without torch's compiler, whose import takes seconds.

Torch keeps its compiler out of some functions, and imports it for that at their first call, though nothing here is
compiled. Here they are called without. Where a version of torch does so in another way, a program is slower to start
and computes the same.
"""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Those whose step is the function below its wrappers, with gradients off: they say nothing to a compiler besides.
STOCK = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)

_METHODS = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")


class PlainMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that does not import the compiler in order to be left out by it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _Undrawn(PlainMode):  # type: ignore[no-untyped-call]
    """A mode in which normal numbers are not drawn for tensors of the meta device, which hold none."""

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.normal_.default and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def on_meta() -> Iterator[None]:
    """Make modules on the meta device: their shapes, without their numbers."""
    with torch.device("meta"), _Undrawn():  # type: ignore[no-untyped-call]
        yield


def make_plainly(make: Any, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Return `make(groups)`, an optimizer whose methods do not import the compiler."""
    for name in _METHODS:
        inner = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if inner is not None:
            inner.__dynamo_disable = inner  # where torch/_compile.py keeps the compiler's version of a function
    optimizer: torch.optim.Optimizer = make(groups)
    return optimizer


def step(optimizer: torch.optim.Optimizer) -> None:
    """Take a step: of a stock optimizer by the function that does its work, of any other as it is called.

    Any other is also one with hooks, or with a step of its own.
    """
    hooks = (getattr(optimizer, f"_optimizer_step_{when}_hooks", None) for when in ("pre", "post"))
    changed = "step" in vars(optimizer) or any(hooks)
    if type(optimizer) not in STOCK or changed or optimizer.defaults.get("differentiable"):
        optimizer.step()
        return
    with torch.no_grad():
        inspect.unwrap(type(optimizer).step)(optimizer)
