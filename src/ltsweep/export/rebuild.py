"""The network of a ticket made again from the recorded config: its model, and the initial weights from the seed.

A study may come from a stranger: of its config only choices of ltsweep, torch and torchvision are called, or those of
modules that the user names.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ltsweep.engine.stack import Tensors
from ltsweep.errors import UserError
from ltsweep.export.opened import Ticket
from ltsweep.grid.cell import Cell
from ltsweep.grid.check import check
from ltsweep.grid.targets import check_targets
from ltsweep.run.build import check_outputs, initial_weights, make
from ltsweep.schema import CONFIG
from ltsweep.words import shown


def model_of(ticket: Ticket, allowed: Sequence[str] = ()) -> nn.Module:
    """Return the model that the recorded config describes, in evaluation mode, with weights of its own making.

    allowed: modules of the user's own that the config may name. Raises UserError where it names others, or describes
    a network of other shapes than the recorded one.
    """
    _check(ticket, "model", allowed)
    with torch.device("meta"):  # first without memory: a stranger's config may ask for any size
        sizes = make(ticket.config, "model")
    if not isinstance(sizes, nn.Module):
        raise UserError(f"{ticket.folder / CONFIG}: model is no network, but a {type(sizes).__name__}")
    shapes = {name: tuple(value.shape) for name, value in (*sizes.named_parameters(), *sizes.named_buffers())}
    recorded = {name: value.shape for name, value in ticket.initial.items()}
    if shapes != recorded:
        other = next(name for name in (*shapes, *recorded) if shapes.get(name) != recorded.get(name))
        raise UserError(f"the config's model has another {shown(other)} than the recorded weights")
    check_outputs([Cell(ticket.config, ticket.folder.name)])
    model: nn.Module = make(ticket.config, "model")
    return model.eval()


def redrawn(ticket: Ticket, model: nn.Module, allowed: Sequence[str] = ()) -> Tensors:
    """Return the initial weights as the seed draws them, name -> (*shape). Raises UserError as `model_of`."""
    _check(ticket, "init", allowed)
    return initial_weights(ticket.config, model)


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
