"""How the weights of each prunable layer move and are distributed: against the level's start, and by themselves.

Letters: C networks of a stack.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ltsweep.engine.look import Look
from ltsweep.errors import UserError
from ltsweep.measure.reading import Moment, Reading, check_moments, share
from ltsweep.words import shown

# Quantiles of a layer that are read at most.
_MOST = 1_000


@dataclass(frozen=True)
class Weights:
    """Readings of the surviving weights of each prunable layer, `place`.

    Against what the level started from: norm: their Euclidean norm; distance: that of their difference; sign_changes:
    the share whose sign differs; start_correlation: Pearson's, of each weight now and then; large_at_start: the share
    of them that were among as many of the layer's weights with the largest magnitudes, masked ones counted.

    Of their distribution: mean; deviation: the standard one; scale: the same times the square root of fan_in; skewness;
    kurtosis, 0 for a normal; positive: the share above 0; quantile: with `at` (i + 1/2) / quantiles. nan where a layer
    has no weights left, or all are equal.
    """

    quantiles: int = 16
    moments: Sequence[Moment] = ("start", "end")

    def __post_init__(self) -> None:
        """Raise UserError for values out of range."""
        if isinstance(self.quantiles, bool) or not isinstance(self.quantiles, int) or not 0 <= self.quantiles <= _MOST:
            raise UserError(
                f"measure.weights.quantiles={shown(self.quantiles)} is out of range: it is a whole number from 0 to "
                f"{_MOST:,}"
            )
        check_moments("weights", self.moments)

    def __call__(self, look: Look) -> Iterator[Reading]:
        """Yield the readings layer by layer."""
        used, places = look.state.used, (np.arange(self.quantiles) + 0.5) / max(self.quantiles, 1)
        for name, mask in look.state.masks.items():
            now, start = used[name], look.start[name]  # (C, *shape)
            changed = (torch.sign(now) != torch.sign(start)) & (mask > 0)
            yield Reading("norm", name, None, now.flatten(1).norm(dim=1))
            yield Reading("distance", name, None, (now - start).flatten(1).norm(dim=1))
            yield Reading("sign_changes", name, None, share(changed.flatten(1).sum(1), mask.flatten(1).sum(1)))
            left = [one[own > 0].double() for one, own in zip(now, mask, strict=True)]  # C of (survivors,)
            begun = [one[own > 0].double() for one, own in zip(start, mask, strict=True)]
            yield Reading("start_correlation", name, None, _each(map(_correlation, left, begun)))
            whole = [one[name].to(mask.device) for one in look.starts]
            yield Reading("large_at_start", name, None, _each(map(_among_largest, whole, mask)))
            yield Reading("mean", name, None, _each(_moment(one, 1) for one in left))
            deviation = _each(_moment(one, 2).sqrt() for one in left)
            yield Reading("deviation", name, None, deviation)
            yield Reading("scale", name, None, deviation * math.prod(now.shape[2:]) ** 0.5)
            yield Reading("skewness", name, None, _each(_moment(one, 3) for one in left))
            yield Reading("kurtosis", name, None, _each(_moment(one, 4) - 3 for one in left))
            yield Reading("positive", name, None, _each((one > 0).double().mean() for one in left))
            found = [np.quantile(one.cpu().numpy(), places) if len(one) else places * math.nan for one in left]
            for i, at in enumerate(places.tolist()):
                yield Reading("quantile", name, at, torch.tensor([one[i] for one in found]))


def _each(values: "Iterator[Tensor] | map[Tensor]") -> Tensor:
    return torch.stack([value.cpu() for value in values])


def _moment(values: Tensor, order: int) -> Tensor:
    """Return the mean, the variance, or a higher central moment over the standard deviation to its power."""
    mean = values.mean()  # nan of nothing
    centred = values - mean
    variance = centred.square().mean()
    if order <= 2:
        return mean if order == 1 else variance
    return centred.pow(order).mean() / variance.pow(order / 2)


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Return Pearson's correlation; nan where either has no spread."""
    one, other = one - one.mean(), other - other.mean()
    correlation: Tensor = (one * other).sum() / (one.norm() * other.norm())
    return correlation


def _among_largest(weights: Tensor, mask: Tensor) -> Tensor:
    """Return the share of the survivors that are among as many largest magnitudes of all weights."""
    count = int(torch.count_nonzero(mask))
    largest = weights.abs().flatten().topk(count).indices
    return share(mask.flatten()[largest].sum(), torch.tensor(count))
