"""The forms of a ticket side by side: their tensors, their networks, and the files that hold them."""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ltsweep.engine.stack import Tensors
from ltsweep.errors import UserError
from ltsweep.export.compact import compact, source
from ltsweep.export.forms import as_pt, as_safetensors, masked, masks_of, pruned, register, weights_of
from ltsweep.export.opened import Ticket
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


def write(forms: Sequence[Form], folder: Path, origin: str, *, pt: bool, onnx: Sequence[int] | None) -> list[Path]:
    """Write the files of all forms but the dense one into a folder, and return their paths.

    origin: the ticket in words, kept in each safetensors file. pt: whether .pt files are written beside. onnx: the
    shape of an example, to write the last form as .onnx too. Raises CannotWriteError.
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


def _as_onnx(network: nn.Module, input_shape: Sequence[int]) -> bytes:
    """Return a network as the content of an .onnx file, for batches of any size. Raises UserError."""
    batches = {0: torch.export.Dim.DYNAMIC}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own making
            program = torch.onnx.export(
                network, (torch.zeros(2, *input_shape),), dynamo=True, verbose=False, dynamic_shapes=(batches,)
            )
    except Exception as error:  # whatever the exporter cannot do
        raise UserError(f"PyTorch's exporter makes no ONNX of the network: {type(error).__name__}") from error
    assert program is not None
    return bytes(program.model_proto.SerializeToString())
