"""Learning-rate schedules: pure functions (step, steps) -> learning rate at step `step` of a level of `steps` steps."""

import math
from collections.abc import Sequence


def _ramp(step: int, warmup: int) -> float:
    """Return the warm-up factor: (step + 1) / warmup up to 1, so that no step has a rate of 0."""
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def constant(step: int, steps: int, value: float, warmup: int = 0) -> float:
    """Return `value`, after a linear warm-up over `warmup` iterations (Frankle & Carbin 2019, section 4)."""
    return value * _ramp(step, warmup)


def step(
    step: int, steps: int, value: float, milestones: Sequence[float] = (), gamma: float = 0.1, warmup: int = 0
) -> float:
    """Return `value` times gamma for each milestone passed; a milestone is a fraction of the level's iterations."""
    passed = sum(step >= round(milestone * steps) for milestone in milestones)
    return value * gamma**passed * _ramp(step, warmup)


def cosine(step: int, steps: int, value: float, warmup: int = 0) -> float:
    """Return half a cosine from `value` to 0 over the level (Loshchilov & Hutter 2017, eq. 5), after a warm-up."""
    if step < warmup:
        return value * _ramp(step, warmup)
    return value * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
