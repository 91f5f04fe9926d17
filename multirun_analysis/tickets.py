"""The tensors of a cell, layer by layer: its initial weights and the masks of its levels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltsweep.errors import BrokenFileError
from ltsweep.schema import INITIAL, ticket_file
from ltsweep.store.tickets import initial, unpack
from ltsweep.words import shown
from multirun_analysis import cell as cells

# Greatest absolute weight that is drawn: the sum of its squares is finite.
_GREATEST = 1e15

Weights = dict[str, NDArray[Any]]


def initial_weights(cell: Path, order: Sequence[str] = ()) -> Weights:
    """Return name -> values of each weight matrix and kernel; `fc1.weight` is named `fc1`.

    The layers in `order`, as `levels.parquet` names them, come first and in that order. Biases and normalization
    start at constants and are left out. Empty where there is no file; raises BrokenFileError where it is broken.
    """
    weights = cells.file(cell, INITIAL, initial) or {}
    place = {name: i for i, name in enumerate(order)}
    found = {}
    for name in sorted(weights, key=lambda name: (place.get(name, len(place)), name)):
        values = weights[name]
        if values.ndim >= 2 and values.size:
            if values.dtype.kind != "f" or float(np.abs(values).max()) > _GREATEST:
                raise BrokenFileError(f"{INITIAL} has a weight of {shown(name)} that no initialization draws")
            found[layer_name(name)] = values.astype("float64") if values.dtype.itemsize < 4 else values
    return found


def masks(cell: Path, level: int) -> dict[str, NDArray[np.bool_]]:
    """Return layer -> booleans, true where a weight remains at a level above 0; empty where there is no file.

    Raises BrokenFileError where it is broken.
    """
    packed = cells.file(cell, ticket_file(level), unpack) or {}
    return {layer_name(name): mask for name, mask in packed.items()}


def layer_name(parameter: str) -> str:
    """Return the name of the layer of a weight, as a figure has it."""
    name = shown(parameter.removesuffix(".weight"), 80)
    return f"{name}.weight" if name == "all" else name  # the whole network is called so
