"""Iterative pruning, and pruning once from one training: the methods that prune what they have trained."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from ltsweep import prune
from ltsweep.engine.look import Look
from ltsweep.engine.stack import Tensors
from ltsweep.errors import UserError
from ltsweep.method.axes import Length, Rates, Remove, Rewind
from ltsweep.method.pruning import Pruning, chosen
from ltsweep.method.rewind import rewind
from ltsweep.prune import Layer
from ltsweep.words import shown

SCOPES: dict[str, Remove] = {
    "layerwise": prune.prune_layerwise,
    "global": prune.prune_global,
    "nodes": prune.prune_nodes,
}


@dataclass(frozen=True, kw_only=True)
class IMP(Pruning):
    """Iterative pruning with rewinding (Frankle & Carbin 2019, section 2).

    Each axis takes a name or a function: score, scope (how weights are removed), rewind, and each of the controls.
    score_level: the level at whose trained weights scores are taken, None for each level's own. With 0, every mask
    comes from the one dense training: one-shot pruning.
    """

    scope: str | Remove = "layerwise"
    rewind: str | Rewind = "init"
    score_level: int | None = None

    def __post_init__(self) -> None:
        """Raise UserError for a name that is not a choice."""
        super().__post_init__()
        chosen("scope", self.scope, SCOPES)
        rewind(self.rewind)
        if self.remaining is not None and self.scope not in ("layerwise", "global"):
            raise UserError("method.remaining goes with method.scope=layerwise or global, which remove single weights")
        level = self.score_level
        if level is not None and (isinstance(level, bool) or not isinstance(level, int) or level < 0):
            raise UserError(f"method.score_level={shown(level)} is out of range: it is null, or a level from 0")

    def check(self, layers: Sequence[Layer], rates: Rates, levels: int) -> None:
        """Raise UserError for rates that the scope cannot apply; a rate of 0 spares a layer and is allowed."""
        super().check(layers, rates, levels)
        if self.scope == "global" and self.remaining is None and len({rate for rate in rates.values() if rate > 0}) > 1:
            raise UserError(
                "method.scope=global ranks all layers together and so takes one rate: add prune_rate=uniform, "
                "or prune_rate=by_type with rates that are equal or 0"
            )
        outputs = [layer.name for layer in layers if layer.kind == "output" and rates[layer.name] > 0]
        if self.scope == "nodes" and outputs:
            raise UserError(
                f"method.scope=nodes removes whole units, and those of {outputs[0]} are the classes: "
                "add prune_rate=but_last"
            )

    def pools(self, layers: Sequence[Layer], rates: Rates) -> dict[str, int]:
        """Return the weights of each layer, or its units; with a global scope those of all layers under one name."""
        if self.scope == "nodes":
            return {layer.name: layer.shape[0] for layer in layers}
        sizes = super().pools(layers, rates)
        ranked = [name for name in sizes if rates[name] > 0]
        if self.scope != "global" or not ranked:
            return sizes
        return sizes | dict.fromkeys(ranked, 0) | {ranked[0]: sum(sizes[name] for name in ranked)}

    @property
    def rewinding(self) -> Rewind:
        """Return the rewinding of that name."""
        return rewind(self.rewind)

    def keep(self, level: int, length: Length) -> Collection[int]:
        """Return the steps that the rewinding keeps, and the last one of the level at which scores are taken."""
        return {*super().keep(level, length), *([length.steps] if level == self.score_level else [])}

    def prune(self, look: Look, rates: Sequence[Rates]) -> Tensors:
        """Return the next level's masks, name -> (C, *shape), from a look at C trained tickets."""
        masks = look.state.masks
        at, level = look, self.score_level
        if level is not None and level < look.level and look.kept is not None:
            dense = {name: torch.ones_like(mask) for name, mask in masks.items()}
            at = look.at(look.kept(level, look.iteration), dense)
        scores = self.scores(at)
        if self.remaining is None:
            return chosen("scope", self.scope, SCOPES)(scores, masks, rates)
        sizes = {name: mask[0].numel() for name, mask in masks.items()}
        budgets = [prune.share_of(sizes, rate, self.share(look.level + 1)) for rate in rates]
        return prune.keep_budget(scores, masks, budgets, self.scope == "global")
