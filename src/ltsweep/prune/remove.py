"""The exact removal of the lowest-scored weights.

Letters: C networks in the stack, N weights of a layer (or of all layers, for global pruning).
"""

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

import torch
from torch import Tensor


def count(rate: float, surviving: int) -> int:
    """Return round-half-even(rate x surviving), the rate as a decimal number: 0.1 of 25 is 2.5, which rounds to 2."""
    return round(Fraction(repr(rate)) * surviving)


def remove_lowest(scores: Tensor, mask: Tensor, counts: Sequence[int]) -> Tensor:
    """Return a new mask without the `counts[c]` lowest-scored survivors of network c.

    scores, mask: (C, N), the mask of zeros and ones. Of equal scores the earlier weight is removed first. NaN is
    highest.
    """
    if not any(counts):
        return mask.clone()
    there = mask != 0
    score = torch.where(there & ~scores.isnan(), scores, torch.inf)  # (C, N)
    # The last score that goes, rather than the order of all: a fifth of the time.
    last = torch.stack([row.kthvalue(max(n, 1)).values for row, n in zip(score, counts, strict=True)]).unsqueeze(1)
    lower, equal = score < last, there & (score == last)
    short = torch.tensor(counts, device=mask.device).unsqueeze(1) - lower.sum(1, keepdim=True)  # (C, 1)
    if not torch.equal(equal.sum(1, keepdim=True), short):
        equal &= equal.cumsum(1) <= short
    return mask * ~(lower | equal)


def keep_layerwise(
    scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], kept: Sequence[Mapping[str, int]]
) -> dict[str, Tensor]:
    """Return new masks with the highest-scored survivors of each layer.

    scores, masks: name -> (C, *shape); kept: for each of the C networks name -> number of weights that remain.
    """
    left = {}
    for name, mask in masks.items():
        flat = mask.flatten(1)  # (C, N)
        there = torch.count_nonzero(flat, dim=1).tolist()
        removed = [n - mine[name] for n, mine in zip(there, kept, strict=True)]
        left[name] = remove_lowest(scores[name].flatten(1), flat, removed).view_as(mask)
    return left


def keep_global(
    scores: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    kept: Sequence[int],
    ranked: Sequence[Collection[str]],
) -> dict[str, Tensor]:
    """Return new masks with the highest-scored survivors of all ranked layers together; other layers stay as they are.

    scores, masks: name -> (C, *shape); kept: for each of the C networks the number of weights that remain of its ranked
    layers, whose names are in `ranked`.
    """
    sizes = [mask[0].numel() for mask in masks.values()]
    flat = torch.cat([mask.flatten(1) for mask in masks.values()], dim=1)  # (C, N)
    score = torch.cat([scores[name].flatten(1) for name in masks], dim=1)  # (C, N)
    chosen = torch.tensor([[name in mine for name in masks] for mine in ranked], device=flat.device)  # (C, layers)
    open_ = flat * chosen.repeat_interleave(torch.tensor(sizes, device=flat.device), dim=1)  # (C, N)
    there = torch.count_nonzero(open_, dim=1).tolist()
    left = flat - open_ + remove_lowest(score, open_, [n - k for n, k in zip(there, kept, strict=True)])
    parts = torch.split(left, sizes, dim=1)
    return {name: part.reshape(masks[name].shape) for name, part in zip(masks, parts, strict=True)}


def counts(masks: Mapping[str, Tensor]) -> list[dict[str, int]]:
    """Return for each network name -> number of survivors; masks: name -> (C, *shape)."""
    each = {name: torch.count_nonzero(mask.flatten(1), dim=1).tolist() for name, mask in masks.items()}
    return [dict(zip(each, numbers, strict=True)) for numbers in zip(*each.values(), strict=True)]


def prune_layerwise(
    scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], rates: Sequence[Mapping[str, float]]
) -> dict[str, Tensor]:
    """Return new masks with each layer pruned at its own rate.

    scores, masks: name -> (C, *shape); rates: one mapping name -> rate for each of the C networks.
    """
    kept = [
        {name: n - count(rate[name], n) for name, n in there.items()}
        for rate, there in zip(rates, counts(masks), strict=True)
    ]
    return keep_layerwise(scores, masks, kept)


def prune_global(
    scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], rates: Sequence[Mapping[str, float]]
) -> dict[str, Tensor]:
    """Return new masks without the lowest-scored weights of all layers ranked together; layers at rate 0 stay whole.

    All other layers of a network have one rate. Each network may have other layers at rate 0.
    """
    ranked = [[name for name in masks if rate[name] > 0] for rate in rates]
    there = [sum(mine[name] for name in names) for mine, names in zip(counts(masks), ranked, strict=True)]
    kept = [n - count(max(rate.values()), n) for rate, n in zip(rates, there, strict=True)]
    return keep_global(scores, masks, kept, ranked)


def prune_nodes(
    scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], rates: Sequence[Mapping[str, float]]
) -> dict[str, Tensor]:
    """Return new masks without whole units: a rate is the share of a layer's surviving units that go.

    A unit is an output of a linear layer, or an output channel of a convolution. Its score is the norm of the scores of
    its surviving incoming weights, and it goes with all of them. Of equal units the earlier goes first. A layer at rate
    0 stays whole.
    """
    left = {}
    for name, mask in masks.items():
        incoming = mask.flatten(2) if mask.dim() > 2 else mask.unsqueeze(2)  # (C, units, weights)
        units = (incoming.sum(2) > 0).to(mask.dtype)  # (C, units)
        norms = (scores[name].reshape(incoming.shape) * incoming).norm(dim=2)  # (C, units)
        gone = [count(rate[name], n) for rate, n in zip(rates, torch.count_nonzero(units, dim=1).tolist(), strict=True)]
        stays = remove_lowest(norms, units, gone)
        left[name] = (incoming * stays.unsqueeze(2)).reshape(mask.shape)
    return left


def shuffle(mask: Tensor, rng: torch.Generator) -> Tensor:
    """Return a mask of the same shape and exactly as many ones, at random positions."""
    return mask.flatten()[torch.randperm(mask.numel(), generator=rng)].view_as(mask)
