"""`python -m ltsweep.ticket STUDY/KEY@LEVEL`: what a ticket is and is worth; and `load`, for a model of one's own."""

from typing import TYPE_CHECKING

from ltsweep.start import start

if TYPE_CHECKING:
    import torch


def load(
    model: "torch.nn.Module", ticket: str, weights: str = "initial", register: bool = True
) -> "dict[str, torch.Tensor]":
    """Set a ticket's weights, buffers and masks in a model, in place, and return the masks.

    ticket: STUDY/KEY@LEVEL, such as multirun/default/0123456789abcdef@3. weights: `initial`, or those that a method
    kept, such as `0_500`. With `register` the masks are those of `torch.nn.utils.prune`, which keep pruned weights at
    zero in every forward pass; without, the weights are masked once, and `weight.mul_(mask)` after each step keeps
    them so. Returns name -> (*shape), zeros and ones, on the device of the weight. Raises ValueError, with one line,
    where the ticket is not there, is not what was written, or does not fit the model; the model is then as it was.
    """
    from ltsweep.export.load import load_into

    return load_into(model, ticket, weights, register)


def main() -> None:
    """Run the command line and exit."""
    start(_describe, "stopped")


def _describe() -> None:
    from ltsweep.export.command import main

    main()


if __name__ == "__main__":
    main()
