"""Random streams: a generator for each drawn tensor or order, so that no draw depends on the packing of cells."""

import hashlib

import torch


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a CPU generator for one `purpose`, for instance `generator(0, "init", "fc1.weight")`.

    Its state is a hash of seed and purpose. Two cells with one seed draw the same numbers for the same purpose, which
    pairs them across the other axes of a grid. Draws from one stream do not move another.
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
