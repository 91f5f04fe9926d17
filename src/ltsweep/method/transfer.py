"""Transfer: a saved ticket trained on another problem, or by another optimizer (Morcos et al. 2019)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, NoReturn

import torch

from ltsweep.engine.look import Look
from ltsweep.engine.stack import Tensors
from ltsweep.errors import UserError
from ltsweep.method.axes import Rates
from ltsweep.method.pruning import Pruning
from ltsweep.prune import Layer
from ltsweep.words import shown


class Ticket(NamedTuple):
    """A saved ticket of one network: the weights and buffers it starts from, and its masks, name -> (*shape)."""

    initial: Tensors
    masks: Tensors


@dataclass(frozen=True, kw_only=True)
class Transfer(Pruning):
    """Training of a saved ticket: level 0 is the dense network with its weights, level 1 the ticket itself.

    The output layer is drawn anew, and stays whole, where it has another number of classes. Every other tensor must
    have the ticket's name and shape. ticket: <study>/<key>@<level>. step: of the source's dense network, whose weights
    are taken; None for its initial weights. ticket_sha256: of those files. source: their tensors, once they are read.
    """

    begins_dense: ClassVar[bool] = False  # its weights are the source's, not those that its seed draws

    ticket: str | None = None
    step: int | None = None
    ticket_sha256: str = ""
    source: Ticket | None = None

    def __post_init__(self) -> None:
        """Raise UserError for a value that is not a choice, or for a field of methods that prune."""
        super().__post_init__()
        if self.score != "magnitude" or self.remaining is not None:
            raise UserError("method=transfer prunes nothing, so it takes neither method.score nor method.remaining")
        if not isinstance(self.source, Ticket | None):
            raise UserError("method.source is read from the files of method.ticket, and not given")

    def check(self, layers: Sequence[Layer], rates: Rates, levels: int) -> None:
        """Raise UserError for more levels than there are."""
        if levels > 1:
            raise UserError(
                f"levels={levels}: method=transfer has two, 0 the dense network and 1 the ticket; add levels=1"
            )

    def check_ticket(self, drawn: Mapping[str, torch.Tensor], layers: Sequence[Layer]) -> None:
        """Raise UserError unless the ticket is of this network, but for an output layer of another shape.

        drawn: the network's own weights and buffers, name -> (*shape), also on the meta device.
        """
        there, masks = self._source
        output = next((layer.name for layer in layers if layer.kind == "output"), "")
        head = (output, f"{output.removesuffix('weight')}bias")
        for name in {**drawn, **there}:
            own, its = drawn.get(name), there.get(name)
            same = int(name in head)  # the first of the axes that must be equal
            if own is None or its is None or own.dtype != its.dtype or own.shape[same:] != its.shape[same:]:
                self._refuse(f"its {shown(name)} is {_form(its)}, and here {_form(own)}")
        prunable = {layer.name for layer in layers}
        if other := sorted(prunable ^ masks.keys()):
            self._refuse(f"{shown(other[0])} can be pruned {'here' if other[0] in prunable else 'there'} alone")

    def initial(self, drawn: Tensors) -> Tensors:
        """Return the source's weights and buffers, with `drawn` ones where the shape is another."""
        source = self._source.initial
        return {name: source[name] if source[name].shape == own.shape else own for name, own in drawn.items()}

    def prune(self, look: Look, rates: Sequence[Rates]) -> Tensors:
        """Return the ticket's masks, name -> (C, *shape), and ones where the shape is another; the rates go unused."""
        whole = {name: torch.ones_like(mask) for name, mask in look.state.masks.items()}
        masks = {name: mask.to(whole[name]) for name, mask in self._source.masks.items()}
        return {
            name: masks[name].expand_as(ones).clone() if masks[name].shape == ones.shape[1:] else ones
            for name, ones in whole.items()
        }

    @property
    def _source(self) -> Ticket:
        assert self.source is not None, "the ticket is not read yet"
        return self.source

    def _refuse(self, why: str) -> NoReturn:
        raise UserError(
            f"method.ticket={shown(self.ticket)} is of another network: {why}; the names and shapes of all but the "
            "output layer must be the same"
        )


def _form(tensor: torch.Tensor | None) -> str:
    if tensor is None:
        return "absent"
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {list(tensor.shape)}"
