"""The network of a ticket made again from the recorded config: its model, and the initial weights from the seed.

A study may come from a stranger: of its config only choices of ltsweep, torch and torchvision are called, or those of
modules that the user names.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ltsweep.engine.plain import on_meta
from ltsweep.engine.stack import Tensors
from ltsweep.errors import UserError
from ltsweep.export.opened import Ticket
from ltsweep.grid.check import check
from ltsweep.grid.targets import check_targets
from ltsweep.init import tensors_of
from ltsweep.run.build import initial_weights, input_dtype, make
from ltsweep.schema import CONFIG
from ltsweep.words import shown

# Numbers of an example: batches of 256 are timed, and take a gigabyte.
_MOST = 1 << 20
# Characters of another's error that a message quotes.
_SAYS = 300


def model_of(ticket: Ticket, allowed: Sequence[str] = ()) -> nn.Module:
    """Return the model that the recorded config describes, in evaluation mode, with weights of its own making.

    allowed: modules of the user's own that the config may name. Raises UserError where it names others, or describes
    a network of other shapes than the recorded one, or one that cannot be run.
    """
    _check(ticket, "model", allowed)
    with on_meta():  # first without memory: a stranger's config may ask for any size
        sizes = make(ticket.config, "model")
    if not isinstance(sizes, nn.Module):
        raise UserError(f"{ticket.folder / CONFIG}: model is no network, but a {type(sizes).__name__}")
    shapes = {name: tuple(value.shape) for name, value in tensors_of(sizes).items()}
    recorded = {name: value.shape for name, value in ticket.initial.items()}
    if shapes != recorded:
        other = next(name for name in (*shapes, *recorded) if shapes.get(name) != recorded.get(name))
        raise UserError(f"the config's model has another {shown(other)} than the recorded weights")
    model: nn.Module = make(ticket.config, "model").eval()
    shape = ticket.config["dataset"].get("input_shape")
    if not isinstance(shape, list):
        raise UserError("the config's data set says nothing of the shape of its examples")
    if math.prod(shape) > _MOST:
        raise UserError(f"examples of {math.prod(shape):,} numbers are too large to try")
    try:
        with torch.no_grad():
            found = model(torch.zeros(1, *shape, dtype=input_dtype(ticket.config)))
    except Exception as error:  # whatever another's model raises
        raise UserError(f"the config's model takes no example of its data set: {shown(str(error), _SAYS)}") from error
    if not isinstance(found, torch.Tensor):
        raise UserError(f"the config's model gives no tensor, but a {type(found).__name__}")
    return model


def redrawn(ticket: Ticket, model: nn.Module, allowed: Sequence[str] = ()) -> Tensors:
    """Return the initial weights as the seed draws them, name -> (*shape). Raises UserError where it draws none."""
    _check(ticket, "init", allowed)
    try:
        drawn = initial_weights(ticket.config, model)
    except UserError:
        raise
    except Exception as error:  # whatever another's initialization raises
        raise UserError(f"the config's init draws no weights: {shown(str(error), _SAYS)}") from error
    if wrong := [name for name, value in drawn.items() if not isinstance(value, torch.Tensor)]:
        raise UserError(f"the config's init draws no tensor for {shown(wrong[0])}")
    return drawn


def unlike(drawn: Mapping[str, torch.Tensor], ticket: Ticket) -> list[str]:
    """Return the names of the tensors that are not, bit for bit, those of the recorded initial weights."""
    recorded = ticket.initial
    return [
        name
        for name in sorted(drawn.keys() | recorded.keys())
        if name not in drawn
        or name not in recorded
        or drawn[name].numpy().dtype != recorded[name].dtype
        or drawn[name].numpy().tobytes() != recorded[name].tobytes()
    ]


def _check(ticket: Ticket, group: str, allowed: Sequence[str]) -> None:
    check(ticket.config)
    check_targets({group: ticket.config[group]}, f"{ticket.folder / CONFIG}", allowed)
