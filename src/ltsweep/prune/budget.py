"""Budgets: how many weights of each layer remain after pruning once, as many as pruning again and again would leave.

Letters: C networks in the stack.
"""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from ltsweep.prune.remove import count, keep_global, keep_layerwise

# Layer name -> number of weights that remain.
Budget = Mapping[str, int]


def compounded(sizes: Mapping[str, int], rates: Mapping[str, float], times: int) -> dict[str, int]:
    """Return the weights that remain of each layer after `times` layerwise prunings at its own rate.

    sizes: layer name -> number of weights.
    """
    left = dict(sizes)
    for _ in range(times):
        left = {name: n - count(rates[name], n) for name, n in left.items()}
    return left


def share_of(sizes: Mapping[str, int], rates: Mapping[str, float], share: float) -> dict[str, int]:
    """Return a share of each layer, rounded to whole weights; a layer at rate 0 stays whole."""
    return {name: count(share, n) if rates[name] > 0 else n for name, n in sizes.items()}


def erdos_renyi_kernel(shapes: Mapping[str, Sequence[int]], budget: Budget) -> dict[str, int]:
    """Return the same number of weights in all, spread over the layers as an Erdős-Rényi-kernel graph has them.

    A layer's density is proportional to (out + in + kernel sizes) / (out * in * kernel sizes); a layer whose density
    would pass 1 is whole (Evci et al. 2020, section 3). Layers that are whole in `budget` stay so. Whole weights go to
    the layers with the largest remainders, the earlier of equals first.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    spread = {name: kept for name, kept in budget.items() if kept < sizes[name]}
    total = sum(spread.values())
    whole: set[str] = set()
    while True:
        open_ = [name for name in spread if name not in whole]
        left = total - sum(sizes[name] for name in whole)
        weight = {name: sum(shapes[name]) for name in open_}  # density times size, up to one factor
        factor = left / sum(weight.values()) if open_ else 0.0
        over = [name for name in open_ if factor * weight[name] > sizes[name]]
        if not over:
            break
        whole.update(over)
    wanted = {name: factor * weight[name] for name in open_}
    kept = {name: math.floor(number) for name, number in wanted.items()}
    places = sorted(open_, key=lambda name: kept[name] - wanted[name])  # the largest remainder first; sorting is stable
    for name in places[: left - sum(kept.values())]:
        kept[name] += 1
    return {name: kept.get(name, sizes[name] if name in whole else budget[name]) for name in budget}


def between(size: int, kept: int, part: float) -> int:
    """Return the weights that remain of `size` after a part of an exponential schedule that ends with `kept` of them.

    After part p these are size * (kept / size)^p, rounded (Tanaka et al. 2020, algorithm 1).
    """
    return kept if part >= 1 or not size else max(kept, round(size * (kept / size) ** part))


def keep_budget(
    scores: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    budgets: Sequence[Budget],
    together: bool,
    part: float = 1.0,
) -> dict[str, Tensor]:
    """Return new masks with the highest-scored survivors, as many as the budgets say.

    scores, masks: name -> (C, *shape); one budget for each network. together: only the sum over the layers counts, but
    a layer that is whole in its budget stays whole. part: of the schedule `between`, which begins with dense layers.
    """
    sizes = {name: mask[0].numel() for name, mask in masks.items()}
    if not together:
        kept = [{name: between(sizes[name], k, part) for name, k in budget.items()} for budget in budgets]
        return keep_layerwise(scores, masks, kept)
    ranked = [[name for name, k in budget.items() if k < sizes[name]] for budget in budgets]
    totals = [
        between(sum(sizes[name] for name in names), sum(budget[name] for name in names), part)
        for names, budget in zip(ranked, budgets, strict=True)
    ]
    return keep_global(scores, masks, totals, ranked)
