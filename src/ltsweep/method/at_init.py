"""Pruning at initialization: each level's masks from the initial weights alone, and each level trained from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ltsweep import prune
from ltsweep.engine.look import Look
from ltsweep.engine.stack import Tensors
from ltsweep.errors import UserError
from ltsweep.method.axes import Rates
from ltsweep.method.pruning import Pruning
from ltsweep.prune.budget import Budget
from ltsweep.words import shown

SCOPES = ("layerwise", "global", "erk")


@dataclass(frozen=True, kw_only=True)
class AtInit(Pruning):
    """Pruning at initialization: a score of the untrained network says which weights go.

    Level 0 is the dense network. Level n has as many weights left in all as n layerwise prunings at the pruning rates
    would leave, or the share that `remaining` says. A layer at rate 0 stays whole. scope: how the weights are spread.
    layerwise: over the layers as these prunings would; global: by score alone; erk: by the layers' shapes (Evci et al.
    2020). rounds: scores are taken so often, each time with fewer weights left (Tanaka et al. 2020, algorithm 1).
    """

    scope: str = "global"
    rounds: int = 1

    def __post_init__(self) -> None:
        """Raise UserError for a value that is not a choice."""
        super().__post_init__()
        if self.scope not in SCOPES:
            raise UserError(f"method.scope={shown(self.scope)} is unknown; choose from {', '.join(SCOPES)}")
        if isinstance(self.rounds, bool) or not isinstance(self.rounds, int) or self.rounds < 1:
            raise UserError(f"method.rounds={shown(self.rounds)} is out of range: it is a whole number from 1")

    def prune(self, look: Look, rates: Sequence[Rates]) -> Tensors:
        """Return the next level's masks, name -> (C, *shape), from the weights that the look's level started from."""
        dense = {name: torch.ones_like(mask) for name, mask in look.state.masks.items()}
        shapes = {name: tuple(mask.shape[1:]) for name, mask in dense.items()}
        budgets = [self._budget(shapes, rate, look.level + 1) for rate in rates]
        masks = dense
        for number in range(1, self.rounds + 1):
            scores = self.scores(look.at(look.starts, masks))
            masks = prune.keep_budget(scores, masks, budgets, self.scope == "global", number / self.rounds)
        return masks

    def _budget(self, shapes: dict[str, tuple[int, ...]], rates: Rates, level: int) -> Budget:
        """Return the weights of each layer that a level has left; for a global scope their sum counts."""
        budget = self.budget(shapes, rates, level)
        return prune.erdos_renyi_kernel(shapes, budget) if self.scope == "erk" else budget
