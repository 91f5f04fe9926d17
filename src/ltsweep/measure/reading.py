"""The protocol of a measurement, and the rows of its readings."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, get_args

from torch import Tensor

from ltsweep.engine.look import Look
from ltsweep.errors import UserError
from ltsweep.method.axes import Arm
from ltsweep.words import shown

# When a measurement is taken: before the first step of a level, at each evaluation, or after the last step.
Moment = Literal["start", "evaluation", "end"]


class Reading(NamedTuple):
    """One quantity of all C networks.

    place: part of the network, such as a layer's name; empty for the whole. at: position on an axis of the
    measurement's own, such as a depth, or None. values: (C,). arm: the arm that it is of, None for every one.
    """

    name: str
    place: str
    at: float | None
    values: Tensor
    arm: str | None = None


class Measurement(Protocol):
    """A function that looks at a stack and changes nothing.

    moments: when it is called; a plain function, without moments, is called at the end of each level. It may have a
    method `check`, which raises UserError for a model that it cannot measure, and a method `check_scores`, which raises
    it where a problem does not measure what it reads: it is given the names `{split}_{score}`.
    """

    moments: Collection[Moment]

    def __call__(self, look: Look) -> Iterable[Reading]:
        """Yield the readings of the C networks."""
        ...


def check_moments(name: str, moments: object) -> None:
    """Raise UserError unless `moments` of a measurement is a list of moments."""
    allowed = get_args(Moment)
    if not isinstance(moments, list | tuple) or not moments or not set(map(str, moments)) <= set(allowed):
        raise UserError(
            f"measure.{name}.moments={shown(moments)} is out of range: it is a list of {', '.join(allowed)}"
        )


def moments_of(measurement: Measurement) -> Collection[Moment]:
    """Return when a measurement is taken."""
    end: tuple[Moment, ...] = ("end",)
    found: Collection[Moment] = getattr(measurement, "moments", end)
    return found


def readings(measurements: Mapping[str, Measurement], moment: Moment, look: Look) -> Iterator[Reading]:
    """Yield the readings of all measurements that are taken at this moment."""
    networks = len(look.starts)
    for name, measurement in measurements.items():
        if moment in moments_of(measurement):
            for reading in measurement(look):
                if not isinstance(reading, Reading) or not isinstance(reading.values, Tensor):
                    raise TypeError(
                        f"measure={name} yields {type(reading).__name__}; it is to yield Reading, with a tensor"
                    )
                if reading.values.shape != (networks,):
                    raise ValueError(
                        f"measure={name} reads {list(reading.values.shape)} numbers, and there are {networks} networks"
                    )
                yield reading


def reading_rows(found: Iterable[Reading], look: Look, arms: Sequence[Arm], cell: int) -> list[dict[str, Any]]:
    """Return a row for each reading of each arm of one cell: networks cell * len(arms) and following."""
    rows = []
    for reading in found:
        values = reading.values.tolist()
        for c, arm in enumerate(arms, start=cell * len(arms)):
            if reading.arm not in (None, str(arm)):
                continue
            rows.append(
                {"arm": arm.name, "draw": arm.draw, "level": look.level, "iteration": look.iteration}
                | {"name": reading.name, "place": reading.place}
                | {"at": None if reading.at is None else float(reading.at), "value": float(values[c])}
            )
    return rows


def share(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole, nan where whole is 0."""
    return (part / whole).where(whole > 0, math.nan)
