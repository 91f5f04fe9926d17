"""A ticket's weights and masks set in a model of the user's own."""

import torch
from torch import nn
from torch.nn.utils import prune

from ltsweep.engine.stack import Tensors
from ltsweep.errors import UserError
from ltsweep.export.forms import masked, masks_of, register, weights_of
from ltsweep.export.opened import open_ticket
from ltsweep.words import shown


def load_into(model: nn.Module, address: str, weights: str, registered: bool) -> Tensors:
    """Set a ticket's weights and masks in `model`, in place, and return the masks; see `ltsweep.ticket.load`."""
    ticket = open_ticket(address, weights)
    new, masks = weights_of(ticket), masks_of(ticket)
    before = _masked_by_prune(model)
    ours = {
        **{_plain(name, "_orig", before): value for name, value in model.named_parameters()},
        **{name: value for name, value in model.named_buffers() if _plain(name, "_mask", before) not in before},
    }
    for name in (*new, *ours):
        here, there = (_shape(tensors, name) for tensors in (ours, new))
        if here != there:
            raise UserError(
                f"{ticket.address} does not fit the model: {shown(name)} is {there} in the ticket and {here} in the "
                f"model; the ticket's names are {shown(', '.join(new))}"
            )
    for name in before:  # masks of an earlier ticket
        prune.remove(*_place(model, name))  # type: ignore[no-untyped-call]
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in (new if registered else masked(new, masks)).items():
            own[name].copy_(value)
    masks = {name: mask.to(own[name]) for name, mask in masks.items()}
    if registered:
        register(model, masks)
    return masks


def _masked_by_prune(model: nn.Module) -> list[str]:
    """Return the names of the parameters that have a mask of `torch.nn.utils.prune`."""
    return [
        f"{place}.{hook._tensor_name}" if place else str(hook._tensor_name)
        for place, module in model.named_modules()
        for hook in module._forward_pre_hooks.values()
        if isinstance(hook, prune.BasePruningMethod)
    ]


def _plain(name: str, ending: str, before: list[str]) -> str:
    """Return the name of the parameter that one of `torch.nn.utils.prune` stands for; any other name as it is."""
    plain = name.removesuffix(ending)
    return plain if plain in before else name


def _place(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    module, _, parameter = name.rpartition(".")
    return model.get_submodule(module), parameter


def _shape(tensors: Tensors, name: str) -> str:
    return "x".join(map(str, tensors[name].shape)) or "one number" if name in tensors else "missing"
