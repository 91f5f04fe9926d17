"""Edge-popup: masks learned over weights that never move (Ramanujan et al. 2020)."""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from ltsweep import prune, schema
from ltsweep.engine.look import Look
from ltsweep.engine.stack import Network, Tensors
from ltsweep.engine.trained import Trained, TrainedScores
from ltsweep.errors import UserError
from ltsweep.init import kaiming_uniform
from ltsweep.method.axes import TICKET, Arm, Length, Past, Rates, Start
from ltsweep.method.pruning import CONTROLS, Pruning
from ltsweep.prune import Layer
from ltsweep.prune.budget import Budget
from ltsweep.rng import generator
from ltsweep.words import shown

# The values that a field may have.
CHOICES = {
    "score_init": ("kaiming_uniform", "signed_like_weight", "constant"),
    "rank": ("magnitude", "value"),
    "scope": ("layerwise", "global"),
    "begin": ("anew", "before"),
}

# Controls that mean something where masks are learned.
_MEANT = (schema.REINIT, schema.RANDOM_MASK, "random_ticket", "sign_constant", schema.TWIN)

# The scores that hold a mask as it is: no step is long enough to change a number of this size.
_HELD = 1e12


@dataclass(frozen=True, kw_only=True)
class EdgePopup(Pruning):
    """Edge-popup: a score for each weight is trained, and the weights with the highest scores are used as drawn.

    Level 0 is the dense network, whose weights are trained. Level n trains scores over the initial weights, of which it
    uses as many as n layerwise prunings at the pruning rates would leave, or the share that `remaining` says; biases
    and normalization stay as they were drawn too. score_init: the scores at first, in the scale of Kaiming uniform with
    a = sqrt(5). rank: the highest are those by absolute value, or by value. scope: layerwise, or global, by rank among
    all weights of layers that do not stay whole. scale: a layer's weights are multiplied by sqrt(all / used). begin: a
    level starts from those scores anew, or from those of the level before. keep_last: the weights, buffers and scores
    at the end of each level are kept; scale and begin=before do so too.

    A control with other weights has scores of its own, trained likewise. A control with another mask keeps it: its
    network is that of a random mask over weights that nothing has trained.
    """

    trains_scores: ClassVar[bool] = True

    score_init: str = "kaiming_uniform"
    rank: str = "magnitude"
    scope: str = "layerwise"
    scale: bool = False
    begin: str = "anew"
    keep_last: bool = False

    def __post_init__(self) -> None:
        """Raise UserError for a value that is not a choice, or for a field of methods that prune."""
        super().__post_init__()
        for field, choices in CHOICES.items():
            if getattr(self, field) not in choices:
                raise UserError(
                    f"method.{field}={shown(getattr(self, field))} is unknown; choose from {', '.join(choices)}"
                )
        if self.score != "magnitude":
            raise UserError("method=edge_popup learns which weights are used, so it takes no method.score")
        if wrong := [one for one in self.controls if one in CONTROLS and one not in _MEANT]:
            raise UserError(
                f"method.controls={shown(wrong)}: method=edge_popup learns masks over weights that never move; of "
                f"controls it takes {', '.join(_MEANT)}, or a function of your own"
            )
        if self.scope == "global" and (self.scale or self.controls):
            raise UserError(
                "method.scope=global learns the share of each layer, which differs between networks, so it takes "
                "neither method.scale nor method.controls"
            )

    def check(self, layers: Sequence[Layer], rates: Rates, levels: int) -> None:
        """Raise UserError where scores cannot be drawn, or `remaining` says nothing of a level."""
        super().check(layers, rates, levels)
        if flat := [layer.name for layer in layers if len(layer.shape) < 2]:
            raise UserError(f"method=edge_popup draws scores as weights are drawn, and {flat[0]} has one dimension")

    def keep(self, level: int, length: Length) -> Collection[int]:
        """Return the last step of a level that learns, where its weights and scores are needed or asked for."""
        return (length.steps,) if level and (self.keep_last or self.scale or self.begin == "before") else ()

    def start(self, arm: Arm, past: Past) -> Start:
        """Return the frozen weights, the masks of the scores at first, None and these scores."""
        if not past.level:
            return super().start(arm, past)
        budget = self.budget({name: mask.shape for name, mask in past.masks.items()}, past.rates, past.level)
        scores = self._scores(past, past.initial)
        first = self._highest(scores, budget)
        weights, masks = super().start(arm, dataclasses.replace(past, masks=first))[:2]
        if any(not torch.equal(masks[name], mask) for name, mask in first.items()):
            scores = {name: mask * _HELD for name, mask in masks.items()}
        elif arm != TICKET:
            scores = self._scores(past, weights)
            masks = self._highest(scores, budget)
        if self.scale:
            share = {name: used / past.initial[name].numel() for name, used in budget.items() if used}
            weights = {n: w / math.sqrt(share[n]) if n in share else w for n, w in weights.items()}
        return weights, masks, None, scores

    def trained(self, network: Network, level: int, rates: Sequence[Rates]) -> Trained:
        """Return the scores as what the optimizer moves, but for the dense network."""
        if not level:
            return super().trained(network, level, rates)
        shapes = {name: tuple(value.shape) for name, value in network.template.named_parameters() if name in rates[0]}
        budgets = [self.budget(shapes, rate, level) for rate in rates]
        return TrainedScores(network, budgets, magnitude=self.rank == "magnitude", together=self._together)

    def prune(self, look: Look, rates: Sequence[Rates]) -> None:
        """Return None: each level learns its own masks."""

    def _highest(self, scores: Tensors, budget: Budget) -> Tensors:
        """Return the masks of the highest scores of one network, name -> (*shape)."""
        ranked = {name: (value.abs() if self.rank == "magnitude" else value)[None] for name, value in scores.items()}
        dense = {name: torch.ones_like(value) for name, value in ranked.items()}
        return {name: mask[0] for name, mask in prune.keep_budget(ranked, dense, [budget], self._together).items()}

    @property
    def _together(self) -> bool:
        return self.scope == "global"

    def _scores(self, past: Past, weights: Mapping[str, torch.Tensor]) -> Tensors:
        """Return the scores from which a level starts, name -> (*shape)."""
        if self.begin == "before" and past.level > 1:
            kept = past.kept(past.level - 1, past.length.steps)
            return {name: kept[f"{schema.SCORE_OF}{name}"] for name in past.masks}
        return {name: self._drawn(past.seed, name, weights[name]) for name in past.masks}

    def _drawn(self, seed: int, name: str, weight: torch.Tensor) -> torch.Tensor:
        """Return the first scores of a layer; they are the same at every level."""
        shape = tuple(weight.shape)
        if self.score_init == "constant":
            return torch.full_like(weight, 1 / math.sqrt(math.prod(shape[1:])))
        drawn = kaiming_uniform(shape, generator(seed, "popup", name), gain="leaky_relu", negative_slope=math.sqrt(5))
        return (drawn.abs() * weight.sign() if self.score_init == "signed_like_weight" else drawn).to(weight)
