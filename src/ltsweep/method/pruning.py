"""What every method that prunes weights shares: controls beside the ticket, and masked weights as what is trained."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from ltsweep import prune, schema
from ltsweep.engine.look import Look
from ltsweep.engine.stack import Network, Tensors
from ltsweep.engine.trained import MaskedWeights, Trained
from ltsweep.errors import UserError
from ltsweep.method import control
from ltsweep.method.axes import TICKET, Arm, Control, Length, Past, Rates, Rewind, Score, Start
from ltsweep.method.rewind import ToInit
from ltsweep.prune import Layer
from ltsweep.prune.budget import Budget
from ltsweep.words import shown

T = TypeVar("T", bound=Callable[..., Any])

# The named choices of an axis; any other function is given by its `_target_`.
SCORES: dict[str, Score] = {
    "magnitude": prune.magnitude,
    "magnitude_increase": prune.magnitude_increase,
    "movement": prune.movement,
    "snip": prune.snip,
    "grasp": prune.grasp,
    "synflow": prune.synflow,
    "random": prune.random,
}
CONTROLS: dict[str, Control] = {
    schema.REINIT: control.reinit,
    schema.RANDOM_MASK: control.random_mask,
    "random_ticket": control.random_ticket,
    "shuffle": control.shuffle,
    "sign_constant": control.sign_constant,
    "frozen": control.frozen,
    schema.TWIN: control.twin,
}


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """A method whose levels train the surviving weights, with `draws` arms of each control beside the ticket.

    A control is a name or a function, which gives its name to its arms. Level 0 has no controls but twins, since a
    dense network has no mask to share. remaining: the share of the weights that each level from 1 on has left, in place
    of what the pruning rates give.
    """

    begins_dense: ClassVar[bool] = True  # level 0 is the dense network, whatever the fields
    of_scores: ClassVar[int] = 0  # numbers of each prunable weight that a level which trains scores holds beside others

    controls: Sequence[str | Control] = ()
    draws: int = 1
    score: str | Score = "magnitude"
    remaining: Sequence[float] | None = None

    def __post_init__(self) -> None:
        """Raise UserError for a name that is not a choice."""
        if not isinstance(self.controls, list | tuple):
            raise UserError(
                f"method.controls={shown(self.controls)} is no list; it is a list of {', '.join(CONTROLS)}, or []"
            )
        chosen("score", self.score, SCORES)
        names = [name_of(one) for one in self.controls]
        for one in self.controls:
            chosen("controls", one, CONTROLS)
        if len(set(names)) < len(names):
            raise UserError(f"method.controls={shown(names)} names a control twice; method.draws=2 draws it twice")
        if taken := [name_of(one) for one in self.controls if not isinstance(one, str) and name_of(one) in CONTROLS]:
            raise UserError(f"method.controls={shown(taken)}: a function of your own needs another name")
        if schema.TICKET in names:
            raise UserError(f"method.controls={shown(names)}: {schema.TICKET} is the name of what they are beside")
        _check_remaining(self.remaining)

    @functools.cached_property
    def _controls(self) -> dict[str, Control]:
        return {name_of(one): chosen("controls", one, CONTROLS) for one in self.controls}

    def check(self, layers: Sequence[Layer], rates: Rates, levels: int) -> None:
        """Raise UserError where `remaining` lacks a level, a level has no weights left, or a score has no input."""
        if self.score == "synflow" and layers and layers[0].kind == "embedding":
            raise UserError(
                "method.score=synflow needs an input of ones, and a model that begins with an embedding takes tokens"
            )
        if self.remaining is not None and levels > len(self.remaining):
            raise UserError(
                f"method.remaining={shown(list(self.remaining))} has {len(self.remaining)} shares, and levels={levels} "
                "needs one for each level after the dense one"
            )
        sizes = {layer.name: math.prod(layer.shape) for layer in layers}
        if self.remaining is not None and not sum(prune.share_of(sizes, rates, self.remaining[-1]).values()):
            raise UserError(f"method.remaining={shown(list(self.remaining))} leaves no weights in the end")
        left = self.pools(layers, rates)
        for level in range(1, levels + 1 if self.remaining is None else 0):
            left = prune.compounded(left, rates, 1)
            if not any(left.values()):
                raise UserError(
                    f"levels={levels}: the pruning rates leave no weights from level {level} on, so levels={level - 1} "
                    "is the most"
                )

    def pools(self, layers: Sequence[Layer], rates: Rates) -> dict[str, int]:
        """Return what the pruning rates are shares of: name of a layer -> the number of its weights."""
        return {layer.name: math.prod(layer.shape) for layer in layers}

    @property
    def rewinding(self) -> Rewind:
        """Return how later levels start: from the initial weights, unless a method says otherwise."""
        return ToInit()

    def check_length(self, length: Length) -> None:
        """Raise UserError where the rewinding asks for a later step than a level has."""
        self.rewinding.keep(0, length)

    def keep(self, level: int, length: Length) -> Collection[int]:
        """Return the steps of a level after which the ticket's weights are kept, as the rewinding asks."""
        return self.rewinding.keep(level, length)

    def first(self, level: int, length: Length) -> int:
        """Return the step that a level begins with."""
        return self.rewinding.first(level, length)

    def clock(self, level: int, step: int, steps: int) -> int:
        """Return the step at which the schedule of a level's learning rate is read."""
        return self.rewinding.clock(level, step, steps)

    def arms(self, level: int) -> list[Arm]:
        """Return the arms that `level` trains, the ticket first; of a dense network the twin alone means something."""
        controls = [name for name in self._controls if level > 0 or name == schema.TWIN]
        return [TICKET, *(Arm(name, number) for name in controls for number in range(self.draws))]

    def start(self, arm: Arm, past: Past) -> Start:
        """Return the rewound weights and the masks for the ticket; for another arm, its control's weights and masks."""
        rewound = dataclasses.replace(past, initial=self.rewinding.start(past))
        if arm == TICKET:
            return rewound.initial, rewound.masks
        start = self._controls[arm.name](rewound, arm)
        _check_start(arm.name, start, rewound)
        return start

    def trained(self, network: Network, level: int, rates: Sequence[Rates]) -> Trained:
        """Return masked weights: the optimizer moves the weights themselves."""
        return MaskedWeights(network)

    def budget(self, shapes: Mapping[str, Sequence[int]], rates: Rates, level: int) -> Budget:
        """Return the weights of each layer that a level has left: as so many prunings leave, or as `remaining` says."""
        sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        if self.remaining is None:
            return prune.compounded(sizes, rates, level)
        return prune.share_of(sizes, rates, self.share(level))

    def share(self, level: int) -> float:
        """Return the share of weights that a level has left by `remaining`; after its last level there is no less."""
        assert self.remaining is not None
        return self.remaining[min(level, len(self.remaining)) - 1]

    def scores(self, look: Look) -> Tensors:
        """Return a number for each prunable weight, name -> (C, *shape)."""
        scores = chosen("score", self.score, SCORES)(look)
        wrong = [name for name, mask in look.state.masks.items() if _shape(scores, name) != mask.shape]
        if wrong:
            raise ValueError(
                f"method.score={name_of(self.score)} gives {wrong[0]} the shape {_shape(scores, wrong[0])}; "
                f"it is a number for each weight, {tuple(look.state.masks[wrong[0]].shape)}"
            )
        return scores


def _check_remaining(given: object) -> None:
    """Raise UserError unless `remaining` is None or a falling list of shares."""
    if given is None:
        return
    shares = list(given) if isinstance(given, list | tuple) else []
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) and 0 < one < 1 for one in shares)
    if not shares or not numbers or any(b >= a for a, b in itertools.pairwise(shares)):
        raise UserError(
            f"method.remaining={shown(given)} is out of range: it is null or a falling list of shares between 0 and 1, "
            "such as [0.5,0.1,0.02], one for each level after the dense one"
        )


def _shape(tensors: object, name: str) -> tuple[int, ...] | None:
    found = tensors.get(name) if isinstance(tensors, Mapping) else None
    return None if found is None else tuple(found.shape)


def _check_start(name: str, start: object, past: Past) -> None:
    """Raise ValueError unless a control gives the weights and masks of the network, with the ticket's counts."""
    if not isinstance(start, tuple) or len(start) not in (2, 3):
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


def chosen(field: str, given: str | T, choices: Mapping[str, T]) -> T:
    """Return the function of an axis, given by its name or as a function. Raises UserError for an unknown name."""
    if not isinstance(given, str) and callable(given):
        return given
    if given not in choices:
        raise UserError(
            f"method.{field}={shown(given)} is unknown; choose from {', '.join(choices)}, "
            "or name a function of your own by _target_"
        )
    return choices[given]


def name_of(given: object) -> str:
    """Return the name of a control: the given name, or the function's."""
    function = getattr(given, "func", given)
    return given if isinstance(given, str) else str(getattr(function, "__name__", type(function).__name__))
