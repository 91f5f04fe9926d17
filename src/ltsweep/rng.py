"""Random streams: one generator for each thing drawn, so that no draw depends on how cells are packed."""

import hashlib

import torch


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a CPU generator that belongs to `purpose` alone, for instance `generator(0, "init", "fc1.weight")`.

    The state is a hash of seed and purpose. Two cells with one seed draw the same numbers for the same purpose, which
    pairs them across the other axes of a grid; no stream moves when another is drawn from more often.
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
