"""The forms in which a network leaves a study: plain dictionaries of tensors, and the bytes of their files."""

import io

import torch
from safetensors.torch import save
from torch import nn
from torch.nn.utils import prune

from ltsweep.engine.stack import Tensors
from ltsweep.export.opened import Ticket


def weights_of(ticket: Ticket) -> Tensors:
    """Return the ticket's weights and buffers, before its masks, name -> (*shape)."""
    return {name: torch.from_numpy(value) for name, value in ticket.weights.items()}


def masks_of(ticket: Ticket) -> Tensors:
    """Return the ticket's masks, name -> (*shape), zeros and ones of the type of the weights."""
    weights = weights_of(ticket)
    return {name: torch.from_numpy(mask).to(weights[name].dtype) for name, mask in ticket.masks.items()}


def masked(weights: Tensors, masks: Tensors) -> Tensors:
    """Return a plain state dict: the weights, zero where pruned."""
    return {name: value * masks[name] if name in masks else value for name, value in weights.items()}


def register(model: nn.Module, masks: Tensors) -> nn.Module:
    """Give a model the masks of `torch.nn.utils.prune`, in place, and return it.

    A parameter `fc1.weight` becomes `fc1.weight_orig`, with a buffer `fc1.weight_mask`.
    """
    for name, mask in masks.items():
        module, _, parameter = name.rpartition(".")
        prune.custom_from_mask(model.get_submodule(module), parameter, mask)  # type: ignore[no-untyped-call]
    return model


def pruned(weights: Tensors, masks: Tensors) -> Tensors:
    """Return the state dict of a model with the masks of `torch.nn.utils.prune`, all weights kept beside them."""
    named = {f"{name}_orig" if name in masks else name: value for name, value in weights.items()}
    return named | {f"{name}_mask": mask for name, mask in masks.items()}


def as_safetensors(tensors: Tensors, source: str) -> bytes:
    """Return the content of a .safetensors file. source: where the tensors are from, kept as its one metadata entry."""
    contiguous = {name: value.detach().contiguous() for name, value in tensors.items()}
    return save(contiguous, metadata={"ltsweep": source})


def as_pt(tensors: Tensors) -> bytes:
    """Return the content of a .pt file, which `torch.load(..., weights_only=True)` reads."""
    content = io.BytesIO()
    torch.save({name: value.detach().clone() for name, value in tensors.items()}, content)
    return content.getvalue()
