"""How long networks take to answer, measured side by side on one thread."""

import statistics
import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn

# Rounds that are not counted, rounds that are, and the fewest of them where they take long.
_WARM_UP, _MOST, _FEWEST = 3, 50, 5
# Seconds after which no further round begins.
_LONG = 2.0


def latencies(networks: Mapping[str, nn.Module], x: Tensor) -> tuple[dict[str, float], int]:
    """Return name -> the median seconds of a forward pass of x: (B, *shape), and of how many passes.

    The networks take turns, so that what else the machine does falls on all of them.
    """
    took: dict[str, list[float]] = {name: [] for name in networks}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            began = time.perf_counter()
            for number in range(_WARM_UP + _MOST):
                if number >= _WARM_UP + _FEWEST and time.perf_counter() - began > _LONG:
                    break
                for name, network in networks.items():
                    start = time.perf_counter()
                    network(x)
                    took[name].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    counted = {name: seconds[_WARM_UP:] for name, seconds in took.items()}
    return {name: statistics.median(seconds) for name, seconds in counted.items()}, len(next(iter(counted.values())))
