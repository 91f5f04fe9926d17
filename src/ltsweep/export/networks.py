"""The forms of a ticket side by side: their tensors, their networks, and the files that hold them."""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ltsweep.engine.stack import Tensors
from ltsweep.errors import UserError
from ltsweep.export.compact import compact, source
from ltsweep.export.forms import as_pt, as_safetensors, masked, masks_of, pruned, register, weights_of
from ltsweep.export.opened import Ticket
from ltsweep.run.build import input_dtype
from ltsweep.store import disk

# The network that the ticket is a part of; it is shown beside the forms, and not exported.
DENSE = "dense"
COMPACT = "compact"


@dataclass(frozen=True)
class Form:
    """A network in one form: its state dict, and itself where the model could be built."""

    name: str
    tensors: Tensors
    network: nn.Module | None

    @property
    def numbers(self) -> int:
        """Return how many numbers the state dict holds."""
        return sum(tensor.numel() for tensor in self.tensors.values())


def forms_of(ticket: Ticket, model: nn.Module | None) -> tuple[list[Form], str]:
    """Return the dense network and the forms of the ticket, and why there is no compacted one, if there is none.

    model: of the ticket's shapes, or None where it could not be built.
    """
    weights, masks = weights_of(ticket), masks_of(ticket)
    forms = [
        Form(DENSE, weights, _with(model, weights)),
        Form("masked", masked(weights, masks), _with(model, masked(weights, masks))),
        Form("pruned", pruned(weights, masks), _registered(_with(model, weights), masks)),
    ]
    if model is None:
        return forms, ""
    try:
        small = compact(model, weights, masks, ticket.config["dataset"]["input_shape"])
    except UserError as error:
        return forms, str(error)
    return [*forms, Form(COMPACT, small.state_dict(), small)], ""


def _with(model: nn.Module | None, tensors: Tensors) -> nn.Module | None:
    """Return a copy of a model with other parameters and buffers."""
    if model is None:
        return None
    model = copy.deepcopy(model)
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)
    return model


def _registered(model: nn.Module | None, masks: Tensors) -> nn.Module | None:
    return None if model is None else register(model, masks)


def examples(ticket: Ticket, count: int) -> Tensor:
    """Return so many examples of a ticket's data set, (count, *input_shape), at random: numbers, or tokens."""
    shape, dtype = ticket.config["dataset"]["input_shape"], input_dtype(ticket.config)
    rng = torch.Generator().manual_seed(0)
    if dtype.is_floating_point:
        return torch.randn(count, *shape, generator=rng)
    return torch.randint(ticket.config["dataset"]["num_classes"], (count, *shape), generator=rng, dtype=dtype)


def write(forms: Sequence[Form], folder: Path, origin: str, *, pt: bool, onnx: Tensor | None) -> list[Path]:
    """Write the files of all forms but the dense one into a folder, and return their paths.

    origin: the ticket in words, kept in each safetensors file. pt: whether .pt files are written beside. onnx: two
    examples, to write the last form as .onnx too. Raises CannotWriteError.
    """
    files: dict[str, bytes] = {}
    for form in forms:
        if form.name != DENSE:
            files[f"{form.name}.safetensors"] = as_safetensors(form.tensors, origin)
            if pt:
                files[f"{form.name}.pt"] = as_pt(form.tensors)
        if form.name == COMPACT and isinstance(form.network, nn.Sequential):
            files[f"{COMPACT}.py"] = source(form.network, f"{COMPACT}.safetensors").encode()
    if onnx is not None:
        form = forms[-1] if forms[-1].name == COMPACT else next(form for form in forms if form.name == "masked")
        assert form.network is not None
        files[f"{form.name}.onnx"] = _as_onnx(form.network, onnx)
    for name, content in files.items():
        disk.write(folder / name, content)
    return [folder / name for name in files]


def _as_onnx(network: nn.Module, x: Tensor) -> bytes:
    """Return a network as the content of an .onnx file, for batches of any size. Raises UserError."""
    batches = {0: torch.export.Dim.DYNAMIC}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own making
            program = torch.onnx.export(network, (x,), dynamo=True, verbose=False, dynamic_shapes=(batches,))
    except Exception as error:  # whatever the exporter cannot do
        raise UserError(f"PyTorch's exporter makes no ONNX of the network: {type(error).__name__}") from error
    assert program is not None
    return bytes(program.model_proto.SerializeToString())
