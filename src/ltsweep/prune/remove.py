"""The exact removal of the lowest-scored weights.

Letters: C networks in the stack, N weights of a layer (or of all layers, for global pruning).
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import torch
from torch import Tensor


def count(rate: float, surviving: int) -> int:
    """Return round-half-even(rate x surviving), the rate as a decimal number: 0.1 of 25 is 2.5, which rounds to 2."""
    return round(Fraction(repr(rate)) * surviving)


def remove_lowest(scores: Tensor, mask: Tensor, counts: Sequence[int]) -> Tensor:
    """Return a new mask without the `counts[c]` lowest-scored survivors of network c.

    scores, mask: (C, N), the mask of zeros and ones. Of equal scores the earlier weight is removed first.
    """
    order = scores.masked_fill(mask == 0, torch.inf).argsort(dim=1, stable=True)  # (C, N)
    ranks = torch.empty_like(order)
    ranks.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    removed = torch.tensor(counts, device=order.device).unsqueeze(1)  # (C, 1)
    return mask * (ranks >= removed)


def prune_layerwise(
    scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], rates: Sequence[Mapping[str, float]]
) -> dict[str, Tensor]:
    """Return new masks with each layer pruned at its own rate.

    scores, masks: name -> (C, *shape); rates: one mapping name -> rate for each of the C networks.
    """
    pruned = {}
    for name, mask in masks.items():
        flat = mask.flatten(1)  # (C, N)
        counts = [
            count(rate[name], n) for rate, n in zip(rates, torch.count_nonzero(flat, dim=1).tolist(), strict=True)
        ]
        pruned[name] = remove_lowest(scores[name].flatten(1), flat, counts).view_as(mask)
    return pruned


def prune_global(
    scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], rates: Sequence[Mapping[str, float]]
) -> dict[str, Tensor]:
    """Return new masks without the lowest-scored weights of all layers ranked together; layers at rate 0 stay whole.

    All other layers of a network have one rate. Each network may have other layers at rate 0.
    """
    sizes = [mask[0].numel() for mask in masks.values()]
    flat = torch.cat([mask.flatten(1) for mask in masks.values()], dim=1)  # (C, N)
    score = torch.cat([scores[name].flatten(1) for name in masks], dim=1)  # (C, N)
    pruned = torch.tensor([[rate[name] > 0 for name in masks] for rate in rates], device=flat.device)  # (C, layers)
    open_ = flat * pruned.repeat_interleave(torch.tensor(sizes, device=flat.device), dim=1)  # (C, N)
    open_counts = torch.count_nonzero(open_, dim=1).tolist()
    counts = [count(max(rate.values()), n) for rate, n in zip(rates, open_counts, strict=True)]
    kept = flat - open_ + remove_lowest(score, open_, counts)
    parts = torch.split(kept, sizes, dim=1)
    return {name: part.reshape(masks[name].shape) for name, part in zip(masks, parts, strict=True)}


def shuffle(mask: Tensor, rng: torch.Generator) -> Tensor:
    """Return a mask of the same shape and exactly as many ones, at random positions."""
    return mask.flatten()[torch.randperm(mask.numel(), generator=rng)].view_as(mask)
