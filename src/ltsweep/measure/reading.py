"""What a measurement is, and the rows of what it reads."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor

from ltsweep.engine.look import Look
from ltsweep.method.axes import Arm

# When a measurement looks: before the first step of a level, whenever the level is scored, or after its last step.
Moment = Literal["start", "evaluation", "end"]


class Reading(NamedTuple):
    """One quantity of all C networks.

    place: where in the network, such as a layer; nothing for the whole. at: a number along an axis of the measurement's
    own, such as a depth, or None. values: (C,).
    """

    name: str
    place: str
    at: float | None
    values: Tensor


class Measurement(Protocol):
    """Looks at a stack and changes nothing. A plain function looks at the end of each level.

    moments: when it looks.
    """

    moments: Collection[Moment]

    def __call__(self, look: Look) -> Iterable[Reading]:
        """Yield what is read of the C networks."""
        ...


def readings(measurements: Mapping[str, Measurement], moment: Moment, look: Look) -> Iterator[Reading]:
    """Yield the readings of all measurements that look at this moment."""
    for measurement in measurements.values():
        if moment in getattr(measurement, "moments", ("end",)):
            yield from measurement(look)


def reading_rows(found: Iterable[Reading], look: Look, arms: Sequence[Arm], cell: int) -> list[dict[str, Any]]:
    """Return a row for each reading of each arm of one cell, whose networks follow those of the cells before it."""
    rows = []
    for reading in found:
        values = reading.values.tolist()
        for c, arm in enumerate(arms, start=cell * len(arms)):
            rows.append(
                {"arm": arm.name, "draw": arm.draw, "level": look.level, "iteration": look.iteration}
                | {"name": reading.name, "place": reading.place}
                | {"at": None if reading.at is None else float(reading.at), "value": float(values[c])}
            )
    return rows


def share(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole, nan where there is nothing."""
    return (part / whole).where(whole > 0, math.nan)
