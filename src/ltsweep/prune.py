"""Pruning rates, scores and the exact removal of the lowest-scored weights.

Letters: C networks in the stack, N weights of a layer (or of all layers, for global pruning).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """A prunable weight: its parameter name, its shape in torch's layout and what kind of layer it belongs to."""

    name: str
    shape: tuple[int, ...]
    kind: Literal["conv", "fc", "output"]


def layers_of(model: nn.Module) -> list[Layer]:
    """Return the prunable weights of `model`, in order: every parameter of two or more dimensions.

    Biases and normalization parameters have one dimension and are never pruned. The last weight is the output layer.
    """
    weights = [(name, tuple(p.shape)) for name, p in model.named_parameters() if p.dim() >= 2]
    kinds: list[Literal["conv", "fc", "output"]] = ["conv" if len(shape) > 2 else "fc" for _, shape in weights]
    kinds[-1] = "output"
    return [Layer(name, shape, kind) for (name, shape), kind in zip(weights, kinds, strict=True)]


# A pruning rate is the share of a layer's *surviving* weights that one level removes.


def uniform(layers: Sequence[Layer], value: float) -> dict[str, float]:
    """Return the same rate for every layer."""
    return {layer.name: value for layer in layers}


def half_output(layers: Sequence[Layer], value: float) -> dict[str, float]:
    """Return `value`, and half of it for the output layer (Frankle & Carbin 2019, figure 2)."""
    return {layer.name: value / 2 if layer.kind == "output" else value for layer in layers}


def by_type(layers: Sequence[Layer], value: float, conv: float, fc: float, output: float) -> dict[str, float]:
    """Return a rate for each kind of layer; `value` only stands for them in tables."""
    rates = {"conv": conv, "fc": fc, "output": output}
    return {layer.name: rates[layer.kind] for layer in layers}


def magnitude(weight: Tensor) -> Tensor:
    """Return |weight|: the smallest are removed first (Frankle & Carbin 2019, section 2)."""
    return weight.abs()


def count(rate: float, surviving: int) -> int:
    """Return round-half-even(rate x surviving), with the rate as it is written: 0.1 of 25 is 2.5, which rounds to 2."""
    return round(Fraction(repr(rate)) * surviving)


def remove_lowest(scores: Tensor, mask: Tensor, counts: Sequence[int]) -> Tensor:
    """Return a new mask with the `counts[c]` lowest-scored survivors of network c gone.

    scores, mask: (C, N), the mask of zeros and ones; ties go by position, the earlier weight first.
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
    """Return new masks with the lowest scores of all layers together removed; layers at rate 0 stay whole.

    A network has one rate over all the layers it prunes; which layers those are may differ between networks.
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
