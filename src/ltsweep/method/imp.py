"""Iterative magnitude pruning: the method that puts the four axes together."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ltsweep import prune, schema
from ltsweep.engine.look import Look
from ltsweep.engine.stack import Network, Tensors
from ltsweep.engine.trained import MaskedWeights, Trained
from ltsweep.errors import UserError
from ltsweep.method import control, rewind
from ltsweep.method.axes import TICKET, Arm, Control, Past, Rates, Remove, Rewind, Score, Start
from ltsweep.words import shown

T = TypeVar("T", bound=Callable[..., Any])

# The named choices of each axis; any other function is given by its `_target_`.
SCORES: dict[str, Score] = {"magnitude": prune.magnitude}
SCOPES: dict[str, Remove] = {"layerwise": prune.prune_layerwise, "global": prune.prune_global}
REWINDS: dict[str, Rewind] = {"init": rewind.init}
CONTROLS: dict[str, Control] = {schema.REINIT: control.reinit, schema.RANDOM_MASK: control.random_mask}


@dataclass(frozen=True)
class IMP:
    """Iterative magnitude pruning with rewinding to the initial weights (Frankle & Carbin 2019, section 2).

    Each axis takes a name or a function: score, scope (how weights are removed), rewind, and each of the controls. A
    function as a control gives its name to its arms. `draws` arms of each control are trained beside the ticket, on the
    same batches. Level 0 has no controls, since a dense network has no mask to share.
    """

    scope: str | Remove = "layerwise"
    rewind: str | Rewind = "init"
    controls: Sequence[str | Control] = ()
    draws: int = 1
    score: str | Score = "magnitude"

    def __post_init__(self) -> None:
        """Raise UserError for a name that is not a choice."""
        if not isinstance(self.controls, list | tuple):
            raise UserError(
                f"method.controls={shown(self.controls)} is no list; it is a list of {', '.join(CONTROLS)}, or []"
            )
        _chosen("scope", self.scope, SCOPES)
        _chosen("rewind", self.rewind, REWINDS)
        _chosen("score", self.score, SCORES)
        names = [_name(one) for one in self.controls]
        for one in self.controls:
            _chosen("controls", one, CONTROLS)
        if len(set(names)) < len(names):
            raise UserError(f"method.controls={shown(names)} names a control twice; method.draws=2 draws it twice")
        if taken := [_name(one) for one in self.controls if not isinstance(one, str) and _name(one) in CONTROLS]:
            raise UserError(f"method.controls={shown(taken)}: a function of your own needs another name")
        if schema.TICKET in names:
            raise UserError(f"method.controls={shown(names)}: {schema.TICKET} is the name of what they are beside")

    @functools.cached_property
    def _controls(self) -> dict[str, Control]:
        return {_name(one): _chosen("controls", one, CONTROLS) for one in self.controls}

    def check_rates(self, rates: Rates) -> None:
        """Raise UserError where global pruning gets more than one rate; a rate of 0 spares a layer and is allowed."""
        if self.scope == "global" and len({rate for rate in rates.values() if rate > 0}) > 1:
            raise UserError(
                "method.scope=global ranks all layers together and so takes one rate: add prune_rate=uniform, "
                "or prune_rate=by_type with rates that are equal or 0"
            )

    def arms(self, level: int) -> list[Arm]:
        """Return the arms that `level` trains, the ticket first."""
        controls = self._controls if level > 0 else ()
        return [TICKET, *(Arm(name, number) for name in controls for number in range(self.draws))]

    def start(self, arm: Arm, past: Past) -> Start:
        """Return the rewound weights and the masks for the ticket; for another arm, its control's weights and masks."""
        rewound = dataclasses.replace(past, initial=_chosen("rewind", self.rewind, REWINDS)(past))
        if arm == TICKET:
            return rewound.initial, rewound.masks
        start = self._controls[arm.name](rewound, arm)
        _check_start(arm.name, start, rewound)
        return start

    def trained(self, network: Network) -> Trained:
        """Return masked weights: the optimizer moves the weights themselves."""
        return MaskedWeights(network)

    def prune(self, look: Look, rates: Sequence[Rates]) -> Tensors:
        """Return the next level's masks, name -> (C, *shape), from a look at C trained tickets."""
        scores = _chosen("score", self.score, SCORES)(look)
        wrong = [name for name, mask in look.state.masks.items() if _shape(scores, name) != mask.shape]
        if wrong:
            raise ValueError(
                f"method.score={_name(self.score)} gives {wrong[0]} the shape {_shape(scores, wrong[0])}; "
                f"it is a number for each weight, {tuple(look.state.masks[wrong[0]].shape)}"
            )
        return _chosen("scope", self.scope, SCOPES)(scores, look.state.masks, rates)


def _shape(tensors: object, name: str) -> tuple[int, ...] | None:
    found = tensors.get(name) if isinstance(tensors, Mapping) else None
    return None if found is None else tuple(found.shape)


def _check_start(name: str, start: object, past: Past) -> None:
    """Raise ValueError unless a control gives the weights and masks of the network, with the ticket's counts."""
    if not isinstance(start, tuple) or len(start) != 2:
        raise ValueError(f"control {name} returns {type(start).__name__}; it is to return (weights, masks)")
    for what, given, like in (("weights", start[0], past.initial), ("masks", start[1], past.masks)):
        wrong = [one for one, value in like.items() if _shape(given, one) != value.shape]
        if wrong:
            found = _shape(given, wrong[0])
            raise ValueError(
                f"control {name}: {what} of {wrong[0]} have shape {found}, not {tuple(like[wrong[0]].shape)}"
            )
    for layer, mask in past.masks.items():
        kept, ones = int(start[1][layer].count_nonzero()), int(mask.count_nonzero())
        if kept != ones:
            raise ValueError(f"control {name} keeps {kept} weights of {layer}, and the ticket {ones}")


def _chosen(field: str, given: str | T, choices: Mapping[str, T]) -> T:
    """Return the function of an axis, given by its name or as a function. Raises UserError for an unknown name."""
    if not isinstance(given, str) and callable(given):
        return given
    if given not in choices:
        raise UserError(
            f"method.{field}={shown(given)} is unknown; choose from {', '.join(choices)}, "
            "or name a function of your own by _target_"
        )
    return choices[given]


def _name(given: object) -> str:
    """Return the name of a control: the given name, or the function's."""
    function = getattr(given, "func", given)
    return given if isinstance(given, str) else str(getattr(function, "__name__", type(function).__name__))
