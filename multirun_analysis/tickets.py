"""The tensors of a cell: its initial weights and the masks of its levels, `tickets/*.safetensors`."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

Array = NDArray[Any]


def initial_weights(cell: Path, order: Sequence[str] = ()) -> Iterator[tuple[str, Array]]:
    """Give name and values of each matrix and kernel; biases and normalization start at constants and are left out.

    The layers in `order`, as `levels.parquet` names them, come first and in that order; `fc1.weight` is named `fc1`.
    Nothing is given where the file is missing or torn.
    """
    place = {name: i for i, name in enumerate(order)}
    found = _tensors(cell / "tickets" / "init.safetensors")[0]
    for name in sorted(found, key=lambda name: (place.get(name, len(place)), name)):
        if found[name].ndim >= 2:
            yield name.removesuffix(".weight"), found[name]


def masks(cell: Path, level: int) -> dict[str, NDArray[np.bool_]]:
    """Read which weights of each layer remain at a level above 0; empty where the file is missing or torn."""
    packed, metadata = _tensors(cell / "tickets" / f"level_{level:02d}.safetensors")
    shapes = json.loads(metadata.get("shapes", "{}"))
    return {
        name.removesuffix(".weight"): np.unpackbits(packed[name], count=int(np.prod(shape))).reshape(shape) > 0
        for name, shape in shapes.items()
    }


def has_initial_weights(cell: Path) -> bool:
    """Say whether the initial weights are there, whole, without reading them."""
    try:
        with safe_open(cell / "tickets" / "init.safetensors", framework="numpy"):
            return True
    except (OSError, SafetensorError):
        return False


def _tensors(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError):
        return {}, {}
