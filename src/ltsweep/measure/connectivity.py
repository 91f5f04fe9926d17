"""Linear mode connectivity: the error along the line between the ticket and its twin, at the end of each level.

Letters: C networks of a stack, D cells.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ltsweep.engine.look import Look
from ltsweep.engine.stack import Forward, Tensors
from ltsweep.errors import UserError
from ltsweep.measure.reading import Moment, Reading
from ltsweep.schema import SPLITS, TWIN
from ltsweep.words import shown


@dataclass(frozen=True)
class Connectivity:
    """Two readings of each twin and split, in shares of the examples (Frankle et al. 2020, section 2).

    {split}_error: the error of the network at (1 - at) * ticket + at * twin, at `points` places from 0 to 1, weights,
    biases and the running statistics of normalization alike. {split}_barrier: the largest of them, less the mean of the
    errors at both ends. A cell without the control `twin` has no readings.
    """

    points: int = 11
    splits: Sequence[str] = ("test",)

    moments: Sequence[Moment] = ("end",)

    def __post_init__(self) -> None:
        """Raise UserError for values out of range."""
        if isinstance(self.points, bool) or not isinstance(self.points, int) or not 3 <= self.points <= 1_000:
            raise UserError(f"measure.connectivity.points={shown(self.points)} is out of range: it is 3 to 1000")
        if not self.splits or not set(self.splits) <= set(SPLITS):
            raise UserError(
                f"measure.connectivity.splits={shown(list(self.splits))} is out of range: a list of {', '.join(SPLITS)}"
            )

    def check_scores(self, names: Sequence[str]) -> None:
        """Raise UserError where the problem has no accuracy."""
        if lacking := [name for name in (f"{split}_accuracy" for split in self.splits) if name not in names]:
            raise UserError(f"measure.connectivity reads {lacking[0]}; there are {', '.join(names)}")

    def __call__(self, look: Look) -> Iterator[Reading]:
        """Yield the readings of the C networks; those of other arms than the twin's are not of it, and nan."""
        ticket = look.every(len(look.arms))
        for number, arm in enumerate(look.arms):
            if arm.partition("/")[0] != TWIN:
                continue
            errors = self._along(ticket, look, number)  # split -> (points, D)
            for split, along in errors.items():
                for place, values in zip(torch.linspace(0, 1, self.points).tolist(), along, strict=True):
                    yield Reading(f"{split}_error", "", place, _of_arm(values, number, look), arm)
                barrier = along.max(0).values - (along[0] + along[-1]) / 2
                yield Reading(f"{split}_barrier", "", None, _of_arm(barrier, number, look), arm)

    def _along(self, ticket: Look, look: Look, number: int) -> dict[str, torch.Tensor]:
        assert ticket.stage is not None
        stage, width = ticket.stage, len(look.arms)
        found: dict[str, list[list[float]]] = {split: [] for split in self.splits}
        for place in torch.linspace(0, 1, self.points).tolist():
            weights = _between(ticket.state.used, look.state.used, number, width, place)
            buffers = _between(ticket.state.buffers, look.state.buffers, number, width, place)
            forward = Forward(stage.network, weights, buffers, training=False)
            scores = stage.problem.evaluate(forward, {}, stage.draws, self.splits)
            for split in self.splits:
                found[split].append([1 - accuracy for accuracy in scores[f"{split}_accuracy"]])
        return {split: torch.tensor(values, dtype=torch.float64) for split, values in found.items()}


def _between(tickets: Tensors, every: Tensors, number: int, width: int, place: float) -> Tensors:
    """Return (1 - place) * ticket + place * twin for each cell, name -> (D, *shape); whole numbers are the ticket's."""
    return {
        name: torch.lerp(one, every[name][number::width], place) if one.is_floating_point() else one
        for name, one in tickets.items()
    }


def _of_arm(values: torch.Tensor, number: int, look: Look) -> torch.Tensor:
    """Return values (D,) as (C,), nan for all other arms."""
    spread = torch.full((len(look.starts),), torch.nan, dtype=values.dtype)
    spread[number :: len(look.arms)] = values
    return spread
