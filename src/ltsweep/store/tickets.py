"""Tickets as files: initial weights, and masks of one bit a weight. Numpy alone: the analysis uses it too."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save

from ltsweep.errors import BrokenFileError
from ltsweep.store import disk
from ltsweep.store.disk import Noted
from ltsweep.words import shown

Array = NDArray[Any]

# The shapes of a file's masks, as its one entry of metadata has them.
_SHAPES = msgspec.json.Decoder(dict[str, list[Annotated[int, msgspec.Meta(ge=0, le=2**40)]]])


def pack(masks: Mapping[str, Array]) -> bytes:
    """Return the file's content for masks of zeros and ones, name -> (*shape); the first weight is the highest bit."""
    packed = {name: np.packbits(mask.reshape(-1) != 0) for name, mask in masks.items()}
    # One entry: safetensors writes several in any order, and equal masks should be equal files.
    return save(packed, metadata={"shapes": json.dumps({name: list(mask.shape) for name, mask in masks.items()})})


def unpack(path: Path, noted: Noted | None = None) -> dict[str, NDArray[np.bool_]]:
    """Return the masks of a file, name -> booleans of its shape, true where a weight remains.

    noted: size, time and SHA-256 that the file must have. Raises BrokenFileError for a file that is missing or is not
    what was written.
    """
    disk.check(path, noted, thorough=True)
    try:
        with safe_open(path, framework="numpy") as file:
            shapes = _SHAPES.decode(file.metadata()["shapes"])
            packed = {name: file.get_tensor(name) for name in shapes}
    except Exception as error:
        raise BrokenFileError("is not a ticket, or not whole") from error
    masks = {}
    for name, shape in shapes.items():
        bits, size = packed[name], math.prod(shape)
        # Before anything of that size is made: a few bytes may speak of a million times a million weights.
        if bits.dtype != np.uint8 or bits.ndim != 1 or len(bits) != -(-size // 8):
            raise BrokenFileError(f"does not hold a mask of {shown(name)} of the shape {shown(shape)}")
        masks[name] = np.unpackbits(bits, count=size).reshape(shape) > 0
    return masks


def initial(path: Path, noted: Noted | None = None) -> dict[str, Array]:
    """Return the initial weights of a file, name -> finite values. Raises BrokenFileError, as `unpack`."""
    disk.check(path, noted, thorough=True)
    try:
        weights = load_file(path)
    except Exception as error:
        raise BrokenFileError("is not a ticket, or not whole") from error
    for name, values in weights.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise BrokenFileError(f"has a weight of {shown(name)} that is no finite number")
    return weights
