"""The densities that the shipped initializations draw from, by their configs, for comparison with drawn weights.

The formulas stand here a second time on purpose: a comparison with the functions that draw would find no mistake.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

# A cumulative distribution function of weights whose standard deviation is 1.
Distribution = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# The share of the variance of a normal that a cut at two standard deviations leaves.
_AFTER_CUT = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))

# Activation -> gain, as torch.nn.init.calculate_gain has it.
_GAINS = {"linear": 1.0, "sigmoid": 1.0, "relu": math.sqrt(2), "tanh": 5 / 3}


def bin_density(init: Mapping[str, object], shape: Sequence[int], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean density of an initialization in each bin between `edges`.

    `init` is the config group (`_target_, gain, ...`), `shape` that of the weight, (out, in, *kernel). Null where
    weights are not independent or their density is not known: orthogonal, or a user's own initialization.
    """
    found = _scaled(init, shape)
    if found is None:
        return np.full(len(edges) - 1, np.nan)
    distribution, std = found
    if not 0 < std < math.inf:
        return np.full(len(edges) - 1, np.nan)
    density: NDArray[np.float64] = np.diff(distribution(edges / std)) / np.diff(edges)
    return density


def variance(init: Mapping[str, object], shape: Sequence[int]) -> float:
    """Return the variance of a weight as drawn, after any cut; nan where it is not known."""
    found = _scaled(init, shape)
    if found is None:
        return math.nan
    distribution, std = found
    return std**2 * (_AFTER_CUT if distribution is _cut else 1.0)


def is_normal(init: Mapping[str, object]) -> bool:
    """Return whether an initialization draws from a whole normal distribution."""
    found = _scaled(init, (1, 1))
    return found is not None and found[0] is ndtr


def _scaled(init: Mapping[str, object], shape: Sequence[int]) -> tuple[Distribution, float] | None:
    """Return the distribution and the standard deviation, before any cut, that it is scaled by."""
    kernel = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * kernel, shape[0] * kernel
    fan = fan_out if init.get("fan_mode") == "fan_out" else fan_in
    gain = _gain(init)
    match str(init.get("_target_")).removeprefix("ltsweep.init."):
        case "xavier_uniform":  # Glorot & Bengio 2010, eq. 16
            return _uniform, gain * math.sqrt(2 / (fan_in + fan_out))
        case "xavier_normal":
            return ndtr, gain * math.sqrt(2 / (fan_in + fan_out))
        case "kaiming_uniform":  # He et al. 2015, eq. 10
            return _uniform, gain / math.sqrt(fan)
        case "kaiming_normal":
            return ndtr, gain / math.sqrt(fan)
        case "truncated_normal":  # Hanin & Rolnick 2018
            return _cut, gain / math.sqrt(fan)
        case "pytorch_default":  # U(-1/sqrt(fan_in), 1/sqrt(fan_in)), whose deviation is 1/sqrt(3 fan_in)
            return _uniform, 1 / math.sqrt(3 * fan_in)
    return None


def _gain(init: Mapping[str, object]) -> float:
    gain = init.get("gain", 1.0)
    if isinstance(gain, int | float):
        return float(gain)
    if gain == "leaky_relu":
        slope = init.get("negative_slope", 0.01)
        return math.sqrt(2) / math.hypot(1, slope) if isinstance(slope, int | float) else math.nan
    return _GAINS.get(str(gain), math.nan)


def _uniform(x: NDArray[np.float64]) -> NDArray[np.float64]:
    bound = math.sqrt(3)
    return np.clip((x + bound) / (2 * bound), 0.0, 1.0)


def _cut(x: NDArray[np.float64]) -> NDArray[np.float64]:
    within = ndtr(2.0) - ndtr(-2.0)
    cut: NDArray[np.float64] = (ndtr(np.clip(x, -2.0, 2.0)) - ndtr(-2.0)) / within
    return cut
