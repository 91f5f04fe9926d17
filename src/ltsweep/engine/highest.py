"""The masks of the highest scores: exact counts, ties by position, at every step of a training that learns them.

An operator of our own, so that a recorded step holds it as one call. On a CPU numpy partitions each layer, which takes
a hundredth of the time of sorting it; on a GPU layers are sorted, all networks at once.

Letters: C networks, L layers, N weights of a layer (or of several together).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_NAME = "ltsweep::keep_highest"

torch.library.define(_NAME, "(Tensor[] scores, Tensor(a!)[] masks, Tensor kept, bool magnitude, bool together) -> ()")


@torch.library.impl(_NAME, "CompositeExplicitAutograd")
def _keep_highest(
    scores: Sequence[Tensor], masks: Sequence[Tensor], kept: Tensor, magnitude: bool, together: bool
) -> None:
    (by_partition if kept.device.type == "cpu" else by_sorting)(scores, masks, kept, magnitude, together)


def keep_highest(
    scores: Sequence[Tensor], masks: Sequence[Tensor], kept: Tensor, magnitude: bool = True, together: bool = False
) -> None:
    """Write ones into the masks where scores are highest, zeros elsewhere.

    scores, masks: for each layer (C, *shape). kept: the weights that remain of each layer, (C, L), on the same device.
    magnitude: scores are compared by their absolute values. together: only the sum of `kept` over the layers counts,
    but a layer that is whole in it stays whole. Of equal scores the later weight remains, as `prune.remove_lowest` has
    it. NaN counts as highest.
    """
    torch.ops.ltsweep.keep_highest(list(scores), list(masks), kept, magnitude, together)


def by_partition(
    scores: Sequence[Tensor], masks: Sequence[Tensor], kept: Tensor, magnitude: bool, together: bool
) -> None:
    """Do so on a CPU, one network and layer after the other."""
    for c, counts in enumerate(kept.tolist()):
        ranked = [n for n, mask in enumerate(masks) if counts[n] < mask[c].numel()]
        for n in set(range(len(masks))).difference(ranked):
            masks[n][c].fill_(1)
        for pool in [ranked] if together and ranked else [[n] for n in ranked]:
            values, into = ([each[n][c].numpy() for n in pool] for each in (scores, masks))
            _keep(values, into, sum(counts[n] for n in pool), magnitude)


def _keep(scores: list[np.ndarray], masks: list[np.ndarray], kept: int, magnitude: bool) -> None:
    """Write the masks of the `kept` highest of all scores together; there are more than these."""
    pool = np.concatenate([one.ravel(order="K") for one in scores])  # (N,), as they lie in memory
    if magnitude:
        np.abs(pool, out=pool)
    place = len(pool) - kept - 1
    pool.partition(place)
    highest = pool[place]  # of those that go
    if np.isnan(highest):  # of a network that has diverged
        _keep([np.nan_to_num(one, nan=np.inf) for one in scores], masks, kept, magnitude)
        return
    short = kept
    for one, mask in zip(scores, masks, strict=True):
        stay = one > highest
        if magnitude:
            stay |= one < -highest
        short -= int(np.count_nonzero(stay))
        np.copyto(mask, stay)
    for one, mask in zip(reversed(scores), reversed(masks), strict=True):  # of its equals some stay too, the last ones
        if short:
            equal = np.flatnonzero((np.abs(one) if magnitude else one) == highest)[-short:]
            mask[np.unravel_index(equal, mask.shape)] = 1
            short -= len(equal)


def by_sorting(
    scores: Sequence[Tensor], masks: Sequence[Tensor], kept: Tensor, magnitude: bool, together: bool
) -> None:
    """Do so by sorting, without reading a number back, so that a CUDA graph can hold it."""
    values = [one.abs().flatten(1) if magnitude else one.flatten(1) for one in scores]  # each (C, N)
    if together:
        whole = [kept[:, [n]] == one.shape[1] for n, one in enumerate(values)]  # each (C, 1)
        values = [one.masked_fill(all_, torch.inf) for one, all_ in zip(values, whole, strict=True)]
        stay = torch.split(
            _ranked(torch.cat(values, dim=1), kept.sum(1, keepdim=True)), [one.shape[1] for one in values], dim=1
        )
    else:
        stay = tuple(_ranked(one, kept[:, [n]]) for n, one in enumerate(values))
    for mask, here in zip(masks, stay, strict=True):
        mask.copy_(here.view(mask.shape))


def _ranked(values: Tensor, kept: Tensor) -> Tensor:
    """Return booleans (C, N), true for the highest of each row, `kept` of them, (C, 1), the later of equals first."""
    order = values.argsort(dim=1, stable=True)
    ranks = torch.empty_like(order)
    ranks.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    return ranks >= order.shape[1] - kept
