"""Tickets as files: initial weights, and masks of one bit a weight. Numpy, no torch: the analysis uses it too."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save

Array = NDArray[Any]


def pack(masks: Mapping[str, Array]) -> bytes:
    """Return the file's content for masks of zeros and ones, name -> (*shape); the first weight is the highest bit."""
    packed = {name: np.packbits(mask.reshape(-1) != 0) for name, mask in masks.items()}
    # One entry: safetensors writes several in any order, and equal masks should be equal files.
    return save(packed, metadata={"shapes": json.dumps({name: list(mask.shape) for name, mask in masks.items()})})


def unpack(path: Path) -> dict[str, NDArray[np.bool_]]:
    """Return the masks of a file, name -> booleans of its shape, true where a weight remains."""
    masks = {}
    with safe_open(path, framework="numpy") as file:
        for name, shape in json.loads(file.metadata()["shapes"]).items():
            bits = np.unpackbits(file.get_tensor(name), count=int(np.prod(shape)))
            masks[name] = bits.reshape(shape) > 0
    return masks


def initial(path: Path) -> dict[str, Array]:
    """Return the initial weights of a file, name -> values."""
    return load_file(path)
