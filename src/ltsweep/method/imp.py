"""Methods: how a level starts and how its tickets are pruned. A method is one class, fields plus pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ltsweep import prune
from ltsweep.engine.stack import State, Tensors
from ltsweep.errors import UserError
from ltsweep.init import Init, draw
from ltsweep.rng import generator

SCOPES = {"layerwise": prune.prune_layerwise, "global": prune.prune_global}
REWINDS = ("init",)
CONTROLS = ("reinit", "random_mask")


@dataclass(frozen=True)
class Arm:
    """What is trained at a level: the ticket, or one draw of a control that has as many weights in every layer."""

    name: str
    draw: int = 0


TICKET = Arm("ticket")


@dataclass(frozen=True)
class IMP:
    """Iterative magnitude pruning with rewinding to the initial weights (Frankle & Carbin 2019, section 2).

    controls: `reinit` trains the ticket's mask from fresh weights of the same initialization (the paper's random
    re-initialization); `random_mask` trains the ticket's initial weights under a mask with as many ones in each layer,
    placed at random. `draws` of each are trained beside the ticket, on the same batches. A dense network has no mask to
    share, so level 0 has no controls.
    """

    scope: str = "layerwise"
    rewind: str = "init"
    controls: Sequence[str] = ()
    draws: int = 1

    def __post_init__(self) -> None:
        """Raise UserError for a name that is not a choice."""
        if not isinstance(self.controls, list | tuple):
            raise UserError(f"method.controls={self.controls} is no list; it is a list of {', '.join(CONTROLS)}, or []")
        for field, value, choices in (
            ("scope", self.scope, SCOPES),
            ("rewind", self.rewind, REWINDS),
            *(("controls", control, CONTROLS) for control in self.controls),
        ):
            if value not in choices:
                raise UserError(f"method.{field}={value} is unknown; choose from {', '.join(choices)}")
        if len(set(self.controls)) < len(self.controls):
            raise UserError(
                f"method.controls={list(self.controls)} names a control twice; method.draws=2 draws it twice"
            )

    def check_rates(self, rates: Mapping[str, float]) -> None:
        """Raise UserError where global pruning is asked to keep to more than one rate; a rate of 0 spares a layer."""
        if self.scope == "global" and len({rate for rate in rates.values() if rate > 0}) > 1:
            raise UserError(
                "method.scope=global ranks all layers together and so takes one rate: prune_rate=uniform, "
                "or prune_rate=by_type with rates that are equal or 0"
            )

    def arms(self, level: int) -> list[Arm]:
        """Return what is trained at `level`, the ticket first."""
        controls = self.controls if level > 0 else ()
        return [TICKET, *(Arm(name, number) for name in controls for number in range(self.draws))]

    def start(
        self, arm: Arm, model: nn.Module, init: Init, seed: int, level: int, initial: Tensors, masks: Tensors
    ) -> tuple[Tensors, Tensors]:
        """Return the weights (and buffers) and the masks that `arm` starts from at `level`.

        initial, masks: the ticket's, name -> (*shape); neither is changed, and both may be returned as they are.
        """
        purpose = (arm.name, arm.draw, level)
        if arm.name == "reinit":
            return draw(model, init, seed, *purpose), masks
        if arm.name == "random_mask":
            return initial, {name: prune.shuffle(mask, generator(seed, *purpose, name)) for name, mask in masks.items()}
        return initial, masks

    def prune(self, tickets: State, rates: Sequence[Mapping[str, float]]) -> Tensors:
        """Return the next level's masks, name -> (C, *shape), from the C trained tickets."""
        scores: Mapping[str, Tensor] = {name: prune.magnitude(tickets.params[name]) for name in tickets.masks}
        return SCOPES[self.scope](scores, tickets.masks, rates)
