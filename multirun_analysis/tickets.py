"""The tensors of a cell, layer by layer: its initial weights and the masks of its levels."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ltsweep.schema import INITIAL, ticket_file
from ltsweep.store.tickets import initial, unpack

# What reading a file raises where it is missing, torn, or not a ticket.
_UNREADABLE = (OSError, SafetensorError, KeyError, TypeError, ValueError)


def initial_weights(cell: Path, order: Sequence[str] = ()) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield name and values of each weight matrix and kernel; `fc1.weight` is named `fc1`.

    The layers in `order`, as `levels.parquet` names them, come first and in that order. Biases and normalization
    start at constants and are left out. Yields nothing where the file is missing or torn.
    """
    try:
        weights = initial(cell / INITIAL)
    except _UNREADABLE:
        return
    place = {name: i for i, name in enumerate(order)}
    for name in sorted(weights, key=lambda name: (place.get(name, len(place)), name)):
        if weights[name].ndim >= 2:
            yield name.removesuffix(".weight"), weights[name]


def masks(cell: Path, level: int) -> dict[str, NDArray[np.bool_]]:
    """Return layer -> booleans, true where a weight remains at a level above 0; empty for a missing or torn file."""
    try:
        packed = unpack(cell / ticket_file(level))
    except _UNREADABLE:
        return {}
    return {name.removesuffix(".weight"): mask for name, mask in packed.items()}


def has_initial_weights(cell: Path) -> bool:
    """Return whether the file of the initial weights is there and whole, without reading its tensors."""
    try:
        with safe_open(cell / INITIAL, framework="numpy"):
            return True
    except (OSError, SafetensorError):
        return False
