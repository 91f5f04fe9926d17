"""Supermasks: the probabilities of masks learned over weights that never move (Zhou et al. 2019)."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from ltsweep.engine.look import Look
from ltsweep.engine.stack import Network
from ltsweep.engine.trained import Supermasks, Trained
from ltsweep.errors import UserError
from ltsweep.method.axes import Arm, Length, Past, Rates, Start
from ltsweep.method.pruning import Pruning
from ltsweep.words import shown

# Scores of weights that are always used: their probability is 1, and the gradient of that nothing.
_ALWAYS = 1e3


@dataclass(frozen=True, kw_only=True)
class Supermask(Pruning):
    """Supermasks: the probability that a weight is used as drawn is trained, and each step draws masks by it.

    Level 0 is the dense network, whose weights are trained. Level n begins with the probability of each layer that n
    layerwise prunings at the pruning rates would leave, or that `remaining` says; how many weights remain is learned. A
    layer at rate 0 is always used. The masks of a level are those of probabilities of a half or more. scored_by: the
    networks that evaluations score are those under their masks (threshold), or have each weight times its probability
    (expected). keep_last: the weights, buffers and scores at the end of each level are kept.
    """

    of_scores: ClassVar[int] = 20  # also the random numbers, of 8 bytes each on their way, and the probability

    scored_by: str = "threshold"
    keep_last: bool = False

    def __post_init__(self) -> None:
        """Raise UserError for a value that is not a choice, or for a field of methods that prune."""
        super().__post_init__()
        if self.scored_by not in ("threshold", "expected"):
            raise UserError(f"method.scored_by={shown(self.scored_by)} is unknown; choose from threshold, expected")
        if self.score != "magnitude":
            raise UserError("method=supermask learns which weights are used, so it takes no method.score")
        if self.controls:
            raise UserError(
                "method=supermask learns how many weights remain, and controls have as many; add method.controls=[]"
            )

    def keep(self, level: int, length: Length) -> Collection[int]:
        """Return the last step of a level that learns, where its weights are asked for."""
        return (length.steps,) if level and self.keep_last else ()

    def start(self, arm: Arm, past: Past) -> Start:
        """Return the frozen weights, the masks of the first probabilities, None and the scores of these."""
        if not past.level:
            return super().start(arm, past)
        budget = self.budget({name: mask.shape for name, mask in past.masks.items()}, past.rates, past.level)
        scores = {
            name: torch.full_like(past.initial[name], _logit(budget[name] / past.initial[name].numel()))
            for name in past.masks
        }
        return past.initial, {name: (score >= 0).to(score) for name, score in scores.items()}, None, scores

    def trained(self, network: Network, level: int, rates: Sequence[Rates]) -> Trained:
        """Return the scores as what the optimizer moves, but for the dense network."""
        return Supermasks(network, self.scored_by == "expected") if level else super().trained(network, level, rates)

    def prune(self, look: Look, rates: Sequence[Rates]) -> None:
        """Return None: each level learns its own masks."""


def _logit(share: float) -> float:
    return _ALWAYS if share == 1 else -_ALWAYS if share == 0 else math.log(share / (1 - share))
