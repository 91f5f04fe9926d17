"""The runs test of Wald & Wolfowitz (1940) on bits of the parameters: are they in an order, as those of pictures are?

A 32-bit float has 23 bits of mantissa, the lowest of which is bit 0.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from ltsweep.engine.look import Look
from ltsweep.errors import UserError
from ltsweep.measure.reading import Moment, Reading, check_moments
from ltsweep.words import shown

# Bits of the mantissa.
_BITS = 23
# Numbers of which a test is made: of fewer, Z is not near normal.
_LEAST = 20
# |Z| beyond which a test at 1 % rejects: the 99.5 % quantile of a normal.
_REJECTED = 2.5758


@dataclass(frozen=True)
class Mantissa:
    """Z of the runs above and below the median, among the numbers that a range of bits makes, in the order of a tensor.

    runs_z: of tensor `place`, of a weight the survivors; at: the first bit of the range. Below 0 there are fewer runs
    than by chance, as in a picture. runs_z_mean, runs_z_max: of |Z| over the tensors of one kind, `place` being `conv
    weight`, `fc bias`, `norm weight`. runs_z_rejected: the share of these tensors that a test at 1 % rejects as random.
    nan where there are fewer than 20 numbers, or none is below the median.
    """

    ranges: Sequence[Sequence[int]] = ((0, 7), (8, 15), (16, 22))
    moments: Sequence[Moment] = ("start", "end")

    def __post_init__(self) -> None:
        """Raise UserError for ranges that are no bits of a mantissa."""
        if not isinstance(self.ranges, list | tuple) or not self.ranges or not all(map(_is_range, self.ranges)):
            raise UserError(
                f"measure.mantissa.ranges={shown(self.ranges)} is out of range: it is a list of [FIRST, LAST], "
                f"bits from 0 to {_BITS - 1}"
            )
        check_moments("mantissa", self.moments)

    def __call__(self, look: Look) -> Iterator[Reading]:
        """Yield a reading for each tensor and range, then three for each kind and range."""
        assert look.stage is not None
        kinds = _kinds(look.stage.network.template)
        found: dict[tuple[str, int], list[Tensor]] = defaultdict(list)
        for name, values in look.state.params.items():
            mask = look.state.masks.get(name)
            each = [own if mask is None else own[mask[c] > 0] for c, own in enumerate(values)]
            words = [one.detach().float().cpu().contiguous().view(-1).numpy().view(np.int32) for one in each]
            for first, last in self.ranges:
                scores = torch.tensor([runs_z((own >> first) & ((1 << (last - first + 1)) - 1)) for own in words])
                yield Reading("runs_z", name, first, scores)
                found[kinds[name], first].append(scores.abs())
        for (kind, first), sizes in found.items():
            every = torch.stack(sizes)  # (tensors, C)
            yield Reading("runs_z_mean", kind, first, every.nanmean(0))
            most = every.nan_to_num(-1).amax(0)
            yield Reading("runs_z_max", kind, first, most.where(most >= 0, torch.nan))
            beyond = (every > _REJECTED).float().where(every.isfinite(), torch.nan)
            yield Reading("runs_z_rejected", kind, first, beyond.nanmean(0))


def runs_z(values: NDArray[np.int32]) -> float:
    """Return Z of the number of runs at or above the median and below it, nan where the test says nothing."""
    above = values >= np.median(values) if len(values) >= _LEAST else np.ones(1, dtype=bool)
    n, n_above = len(above), int(above.sum())
    if n_above in (0, n):
        return float("nan")
    runs = 1 + int((above[1:] != above[:-1]).sum())
    expected = 2 * n_above * (n - n_above) / n  # less 1
    variance = expected * (expected - 1) / (n - 1)
    return float((runs - expected - 1) / variance**0.5)


def _kinds(model: nn.Module) -> dict[str, str]:
    """Return parameter -> its kind, such as `conv weight`."""
    kinds = {}
    for name, module in model.named_modules():
        layer = "conv" if isinstance(module, _ConvNd) else "fc" if isinstance(module, nn.Linear) else "other"
        layer = "norm" if isinstance(module, _BatchNorm | nn.LayerNorm | nn.GroupNorm) else layer
        for own, _ in module.named_parameters(recurse=False):
            kinds[f"{name}.{own}" if name else own] = f"{layer} {own}"
    return kinds


def _is_range(bits: object) -> bool:
    if not isinstance(bits, list | tuple) or len(bits) != 2:
        return False
    whole = all(isinstance(bit, int) and not isinstance(bit, bool) for bit in bits)
    return whole and 0 <= bits[0] <= bits[1] < _BITS
