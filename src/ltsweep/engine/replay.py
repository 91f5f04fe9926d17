"""A training step, recorded once and replayed: the same kernels on the same memory, without the Python around them.

On a GPU the recording is a CUDA graph, on a CPU a `Tape`. Without it, two fifths of the time of LeNet-300-100's step in
a stack of 4 went into dispatching operators through vmap and autograd, and into fresh memory for their results.

Letters: C networks, B examples a batch.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from ltsweep.engine import gemm
from ltsweep.engine.plain import PlainMode

Step = Callable[[tuple[Tensor, ...]], None]

# Steps run as written before a CUDA graph is captured, as many as in PyTorch's manual: libraries set themselves up on
# its stream.
_WARM_UP = 3


def replayed(step: Step, device: torch.device) -> Step:
    """Return `step`, recorded once and then replayed, with the same bits. It takes a batch: tensors on `device`.

    step: must work on tensors that stay where they are, read no number back, and depend on nothing else that changes.

    The step runs as written until a few batches of one shape have come in a row: the first sets up the optimizer's
    state. Then it is recorded for that shape. A batch of another shape, such as an epoch's last, runs as written.
    """
    return _Graphed(step, device) if device.type == "cuda" else _Taped(step, device)


def as_written(step: Step, device: torch.device) -> Step:
    """Return `step`, run operator by operator with the matrix products of a replay, so that both give the same bits."""

    def run(batch: tuple[Tensor, ...]) -> None:
        with kernels(device):
            step(batch)

    return run


_Shapes = tuple[torch.Size, ...]


def _shapes(batch: tuple[Tensor, ...]) -> _Shapes:
    return tuple(tensor.shape for tensor in batch)


class _Place:
    """The fixed memory from which a recording reads each batch."""

    def __init__(self, batch: tuple[Tensor, ...] = ()) -> None:
        self.tensors = tuple(tensor.clone() for tensor in batch)
        self.shapes = _shapes(batch)

    def fill(self, batch: tuple[Tensor, ...]) -> None:
        for place, tensor in zip(self.tensors, batch, strict=True):
            place.copy_(tensor)


class _Taped:
    """A step on a CPU, recorded as a tape."""

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step, self._as_written = step, as_written(step, device)
        self._last: _Shapes | None = None
        self._place = _Place()
        self._tape: Tape | None = None

    def __call__(self, batch: tuple[Tensor, ...]) -> None:
        shapes = _shapes(batch)
        if self._tape is None and shapes == self._last:
            tape, place = Tape(), _Place(batch)
            with tape:
                self._step(place.tensors)
            self._tape, self._place = tape, place
        elif self._tape is not None and shapes == self._place.shapes:
            self._place.fill(batch)
            self._tape.replay()
        else:
            self._as_written(batch)
        self._last = shapes


class _Graphed:
    """A step on a GPU, recorded as a CUDA graph on a stream of its own: the default stream cannot be captured."""

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step, self._device = step, device
        self._last: _Shapes | None = None
        self._in_a_row = 0
        self._place = _Place()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = _stream(device)

    def __call__(self, batch: tuple[Tensor, ...]) -> None:
        shapes = _shapes(batch)
        self._in_a_row = self._in_a_row + 1 if shapes == self._last else 1
        self._last = shapes
        callers = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(callers)
        try:
            with torch.cuda.stream(self._stream):
                if self._graph is None and self._in_a_row > _WARM_UP:
                    graph, place = torch.cuda.CUDAGraph(), _Place(batch)
                    with torch.cuda.graph(graph, stream=self._stream):  # records, and runs nothing yet
                        self._step(place.tensors)
                    self._graph, self._place = graph, place
                if self._graph is not None and shapes == self._place.shapes:
                    self._place.fill(batch)
                    self._graph.replay()
                else:
                    self._step(batch)
        finally:
            callers.wait_stream(self._stream)


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream to capture on. All levels share it, since libraries keep memory for each stream they meet."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class Kernels(PlainMode):  # type: ignore[no-untyped-call]
    """A context in which `gemm` makes the batched matrix products."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute an operator, batched matrix products by `gemm`."""
        if func is torch.ops.aten.bmm.default:
            return gemm.bmm(*args)
        return func(*args, **(kwargs or {}))


def kernels(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which a device computes the same bits as in a recorded step."""
    if device.type == "cpu" and gemm.by_numpy():
        return Kernels()  # type: ignore[no-untyped-call]
    return contextlib.nullcontext()


class Tape(Kernels):  # type: ignore[no-untyped-call]
    """A context that runs operators and records them; `replay` runs them again, from and to the same memory.

    Every operator's result is kept, so a tape holds all activations and gradients of a step at once. Raises
    RuntimeError where Python reads a number back: a replay would go on with the recorded number.
    """

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls: list[Callable[[], object]] = []
        self._kept: list[Any] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute an operator, and record a call that repeats it."""
        if torch.Tag.data_dependent_output in func.tags:
            raise RuntimeError("a step that reads a number back cannot be replayed")
        out = super().__torch_dispatch__(func, types, args, kwargs)
        # Detached views of the same memory, so that autograd takes no part in a replay.
        kept = tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, (args, kwargs or {}, out))
        self._kept.append(kept)
        call = _again(func, *kept)
        if call is not None:
            self._calls.append(call)
        return out

    @torch.no_grad()
    def replay(self) -> None:
        """Run the recorded operators again, in order."""
        for call in self._calls:
            call()


def _again(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Callable[[], object] | None:
    """Return a call that repeats an operator into the memory of its first result; None for a plain view."""
    made, given = _tensors(out), {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, kwargs))}
    changes = func._schema.is_mutable
    if all(tensor.untyped_storage().data_ptr() in given for tensor in made):  # views, or inputs changed in place
        return functools.partial(func, *args, **kwargs) if changes else None
    if func is torch.ops.aten.bmm.default:
        return gemm.bound(args[0], args[1], out)
    writing = None if changes else _writing(func)
    if writing is not None and len(made) == len(writing[1]):  # gradients that are not needed are missing
        variant, names = writing
        return functools.partial(variant, *args, **kwargs, **dict(zip(names, made, strict=True)))

    def copied() -> None:
        for old, new in zip(made, _tensors(func(*args, **kwargs)), strict=True):
            if old.data_ptr() != new.data_ptr():
                old.copy_(new)

    return copied


@functools.cache
def _writing(func: Any) -> tuple[Any, list[str]] | None:
    """Return an operator's variant with output arguments, and their names; None where there is no such variant."""
    if not all(isinstance(each.type, torch.TensorType) for each in func._schema.returns):
        return None
    inputs = [(argument.name, str(argument.type)) for argument in func._schema.arguments]
    for name in func.overloadpacket.overloads():
        variant = getattr(func.overloadpacket, name)
        written = [argument.name for argument in variant._schema.arguments if argument.is_out]
        others = [(a.name, str(a.type)) for a in variant._schema.arguments if not a.is_out]
        if others == inputs and len(written) == len(func._schema.returns):
            return variant, written
    return None


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
