"""The distance of the surviving weights from their start, layer by layer, at the end of a level."""

from collections.abc import Iterator

import torch

from ltsweep.engine.look import Look
from ltsweep.measure.reading import Moment, Reading, share


class Weights:
    """Three readings of the surviving weights of each prunable layer.

    norm: their Euclidean norm. distance: the Euclidean norm of their difference from the weights at the level's start.
    sign_changes: the share whose sign differs from that at the start; nan for a layer without surviving weights.
    """

    moments: tuple[Moment, ...] = ("end",)

    def __call__(self, look: Look) -> Iterator[Reading]:
        """Yield three readings a layer."""
        used = look.state.used
        for name, mask in look.state.masks.items():
            now, start = used[name], look.start[name]  # (C, *shape)
            changed = (torch.sign(now) != torch.sign(start)) & (mask > 0)
            yield Reading("norm", name, None, now.flatten(1).norm(dim=1))
            yield Reading("distance", name, None, (now - start).flatten(1).norm(dim=1))
            yield Reading("sign_changes", name, None, share(changed.flatten(1).sum(1), mask.flatten(1).sum(1)))
