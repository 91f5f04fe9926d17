"""Random numbers inside a recorded step: a generator made of operations on tensors of integers.

Torch's own generators would not do. All networks of a stack would draw from one, so that a network's numbers would
depend on its neighbours; and what was drawn before would be in no checkpoint.

Letters: C networks.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ltsweep.engine.plain import PlainMode
from ltsweep.engine.problem import Draws, by_order
from ltsweep.engine.stack import Tensors
from ltsweep.errors import UserError

# The increment and the two factors of SplitMix64 (Steele, Lea & Flood 2014, figure 19), as signed 64-bit integers.
_GAMMA, *_FACTORS = (n - 2**64 for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Noise(nn.Module):
    """A module that draws random numbers in training, for each network from the stream of its own cell.

    `stream` is the state of a SplitMix64 generator. Each draw takes its next number, which seeds another SplitMix64,
    whose n-th number is for the n-th element. So a draw depends on the state alone. As a buffer the state is in every
    checkpoint; it is not in the module's `state_dict`, nor among a cell's initial weights. `streams` gives the states
    in which a level begins.
    """

    stream: Tensor
    # Tensors that a draw makes, in the size of its output: some of them are of 8 bytes a number.
    tensors = 7

    def __init__(self) -> None:
        """Begin with the state 0."""
        super().__init__()
        self.register_buffer("stream", torch.zeros((), dtype=torch.int64), persistent=False)

    def bits(self, shape: Sequence[int]) -> Tensor:
        """Return 64 random bits for each element of a shape, int64, and advance the stream in place."""
        return bits(self.stream, shape)

    def happens(self, probability: float, shape: Sequence[int]) -> Tensor:
        """Return booleans of a shape, each true with a probability above 0 and up to 1, and advance the stream."""
        return self.bits(shape) >= 2**63 - round(probability * 2**64)


def bits(stream: Tensor, shape: Sequence[int]) -> Tensor:
    """Return 64 random bits for each element of a shape, int64, and advance the stream in place.

    stream: the state of a generator, or those of C networks, (C,), with which the bits are (C, *shape).
    """
    key = _mixed(stream.add_(_GAMMA))
    places = torch.arange(1, math.prod(shape) + 1, device=stream.device).mul_(_GAMMA).view(tuple(shape))
    return _mixed(places + key.view(*key.shape, *(1 for _ in shape)))


def uniform(stream: Tensor, shape: Sequence[int]) -> Tensor:
    """Return numbers from 0 and below 1 of the grid of 2^-24, float32, as `bits`."""
    return _shifted(bits(stream, shape), 40).to(torch.float32).mul_(2.0**-24)


def _mixed(state: Tensor) -> Tensor:
    """Return SplitMix64's numbers for some states."""
    found = state ^ _shifted(state, 30)
    for factor, places in zip(_FACTORS, (27, 31), strict=True):
        found.mul_(factor)  # modulo 2^64
        found.bitwise_xor_(_shifted(found, places))
    return found


def _shifted(bits: Tensor, places: int) -> Tensor:
    """Return bits shifted to the right, zeros coming in; torch's own shift repeats the sign."""
    return (bits >> places).bitwise_and_(2 ** (64 - places) - 1)


def stream_names(model: nn.Module) -> list[str]:
    """Return the names of the buffers that are streams, in the order of the modules."""
    modules = [name for name, module in model.named_modules() if isinstance(module, Noise)]
    return [f"{name}.stream" if name else "stream" for name in modules]


def streams(model: nn.Module, cells: Sequence[Draws], device: torch.device) -> Tensors:
    """Return the states in which the streams begin a level, name -> (C,), each from a generator of its own.

    They differ between cells, levels and modules. The networks of a cell share them, as they share its batches.
    """
    return first_states(stream_names(model), cells, device)


def first_states(names: Sequence[str], cells: Sequence[Draws], device: torch.device) -> Tensors:
    """Return the states in which generators of these names begin a level, name -> (C,), as `streams` says."""
    every, places = by_order(cells)

    def first(cell: Draws, order: str, name: str) -> Tensor:
        return torch.empty((), dtype=torch.int64).random_(generator=cell.generator(order, "noise", name))

    return {
        name: torch.stack([first(cell, order, name) for cell, order in every]).index_select(0, places).to(device)
        for name in names
    }


@contextlib.contextmanager
def no_other_draws(model: nn.Module) -> Iterator[None]:
    """Raise UserError where a module of `model` draws from one of torch's own generators while this is open."""
    inside: list[str] = []

    def enter(name: str) -> Callable[..., None]:
        return lambda module, *_: inside.append(f"{name} ({type(module).__name__})" if name else type(module).__name__)

    def leave(*_: object) -> None:
        inside.pop()

    hooks = [module.register_forward_pre_hook(enter(name)) for name, module in model.named_modules()]
    hooks += [module.register_forward_hook(leave) for module in model.modules()]
    try:
        with _NoDraws(inside):
            yield
    finally:
        for hook in hooks:
            hook.remove()


class _NoDraws(PlainMode):  # type: ignore[no-untyped-call]
    """A context in which operators that draw random numbers are refused.

    inside: the names of the modules that run, innermost last.
    """

    def __init__(self, inside: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inside = inside

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            where = self._inside[-1] if self._inside else "it"
            raise UserError(
                f"model: {where} draws from torch's own generator in training, so that its numbers would depend on the "
                "stack; nn.Dropout, nn.Dropout1d to 3d, StochasticDepth and modules of the class "
                "ltsweep.engine.noise.Noise draw from each cell's own stream"
            )
        return func(*args, **(kwargs or {}))
