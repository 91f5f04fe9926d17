"""From claim files to claims, field by field; a mistake is one line with the file, the key and what is allowed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ltsweep.errors import BrokenFileError, did_you_mean
from ltsweep.schema import TICKET
from ltsweep.store import reader
from ltsweep.words import shown
from multirun_analysis import metrics
from multirun_analysis.errors import AnalysisError
from multirun_analysis.pairing import NEAR, Side
from multirun_analysis.schema import LENGTHS, REACHED, REJECTED

# Where the effect has to be, as seen from `value`.
DIRECTIONS = ("greater", "less", "equal", "not_less", "not_greater")

# The directions that take a margin.
WITH_MARGIN = DIRECTIONS[2:]

# The `remaining` of a claim about the mean over the log of the weights remaining.
AREA = "area"

# Columns that a claim can be about.
METRICS = (*metrics.NAMES, *LENGTHS, *REJECTED, REACHED)

# Fractions of weights remaining, from the greater one down to the smaller.
Range = tuple[float, float]


@dataclass(frozen=True)
class Claim:
    """One claim: in cells `where`, the difference of `metric`, left side less right, lies on one side of `value`.

    compare: pairs of sides, averaged within a seed. remaining: a fraction (the level nearest to it, at most a part
    `tolerance` off), (high, low) for the mean over levels from high down to low, or `area` for the mean over the log
    of the weights remaining. direction: `greater` or `less` than value, `equal` to it within margin, `not_less` than
    value less margin, `not_greater` than value plus margin. relative: differences as parts of the right side.
    """

    name: str
    source: str
    text: str
    compare: tuple[tuple[Side, Side], ...]
    remaining: float | Range | str
    direction: str
    metric: str = "test_accuracy"
    where: Mapping[str, object] = field(default_factory=dict)
    value: float = 0.0
    margin: float = 0.0
    relative: bool = False
    tolerance: float = NEAR


def published(own: Sequence[Path] = ()) -> list[Claim]:
    """Return the published claims that come with the package, then those of `own` files and folders."""
    with resources.as_file(resources.files(__package__)) as folder:
        return read([folder, *own])


def read(paths: Sequence[Path]) -> list[Claim]:
    """Return the claims of files, and of every `*.yaml` of folders. Raises AnalysisError for the first mistake."""
    claims: dict[str, Claim] = {}
    for path in paths:
        for file in _files(path):
            claim = _claim(file)
            if claim.name in claims:
                raise AnalysisError(
                    f"{file}: name: there is another claim {shown(claim.name)!r}; each has its own name"
                )
            claims[claim.name] = claim
    return list(claims.values())


def _files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            path.stat()
            return [path]
        found = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
    except FileNotFoundError:
        raise AnalysisError(f"{path}: no such file or folder of claims") from None
    except (OSError, ValueError) as error:
        raise AnalysisError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not found:
        raise AnalysisError(f"{path}: no claims in this folder; a claim is a file that ends in .yaml")
    return found


def _claim(file: Path) -> Claim:
    try:
        found = reader.mapping(file.resolve())  # one's own file may be a link; what a link leads to is looked at
    except (OSError, RuntimeError) as error:  # a link to itself
        raise AnalysisError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except BrokenFileError as error:
        raise AnalysisError(f"{file}: {error}; a claim is a mapping with the keys {', '.join(_FIELDS)}") from None
    for name in found:
        if name not in _FIELDS:
            says = shown(name, 60)
            meant = did_you_mean(says, _FIELDS)
            raise AnalysisError(f"{file}: {says}: no such key; {meant}There are {', '.join(_FIELDS)}")
    for name in _REQUIRED:
        if name not in found:
            raise AnalysisError(f"{file}: {name}: missing; it is {_FIELDS[name][1]}")
    checked = {name: _checked(file, name, value) for name, value in found.items()}
    if ("margin" in checked) != (checked["direction"] in WITH_MARGIN):
        says = "missing; it is a number above 0" if checked["direction"] in WITH_MARGIN else "not allowed"
        raise AnalysisError(
            f"{file}: margin: {says} where direction is {checked['direction']}; {', '.join(WITH_MARGIN)} take one,"
            f" the others take value"
        )
    return Claim(**checked)


def _checked(file: Path, name: str, value: object) -> Any:
    take, allowed = _FIELDS[name]
    try:
        return take(value)
    except (TypeError, ValueError):
        raise AnalysisError(f"{file}: {name}: {shown(value, 80)!r} is not allowed; it is {allowed}") from None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return " ".join(value.split())


def _one_of(*choices: str) -> Callable[[object], str]:
    def take(value: object) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    return take


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _above_0(value: object) -> float:
    if (found := _number(value)) <= 0:
        raise ValueError
    return found


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _part(value: object) -> float:
    if not 0 < (found := _number(value)) <= 1:
        raise ValueError
    return found


def _remaining(value: object) -> float | Range | str:
    if isinstance(value, dict):
        high, low = _part(value.pop("from")) if "from" in value else 1.0, 0.0
        if "to" in value:
            low = _part(value.pop("to"))
        if value or low >= high:
            raise ValueError
        return high, low
    return AREA if value == AREA else _part(value)


def _config(value: object) -> dict[str, object]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError
    for one in value.values():
        if one == []:
            raise ValueError
        for item in one if isinstance(one, list) else [one]:
            if not isinstance(item, str | int | float | bool | None):
                raise ValueError
    return dict(value)


def _side(value: object) -> Side:
    if value == "dense":
        return Side(dense=True)
    config = _config(value)
    arm, at, metric = config.pop("arm", TICKET), config.pop("remaining", None), config.pop("metric", None)
    if metric not in (None, *METRICS):
        raise ValueError
    return Side(config, _text(arm), at=None if at is None else _part(at), metric=metric and str(metric))


def _compare(value: object) -> tuple[tuple[Side, Side], ...]:
    pairs: list[Any] = value if isinstance(value, list) else [value]
    if not pairs or not all(isinstance(pair, dict) and set(pair) == {"left", "right"} for pair in pairs):
        raise ValueError
    found = []
    for pair in pairs:
        left, right = _side(pair["left"]), _side(pair["right"])
        if left.one_level:
            raise ValueError
        # Against dense, both sides are of the same cells.
        found.append((left, Side(left.config, dense=True, metric=left.metric) if right.dense else right))
    return tuple(found)


# Key -> function that checks its value, and what is allowed in words.
_FIELDS: dict[str, tuple[Callable[[object], Any], str]] = {
    "name": (_text, "a short text, its own among all claims"),
    "source": (_text, "a text: who claims it"),
    "text": (_text, "a text: the claim in a sentence"),
    "where": (_config, "a mapping of config columns to a value or a list of values, such as {model: lenet_300_100}"),
    "compare": (
        _compare,
        "left and right, or a list of such pairs; a side is {init: xavier_u}, {arm: reinit} or both,"
        " {} for all cells; right may be the word dense, or have remaining: a fraction, the level nearest to it;"
        " either may have a metric of its own",
    ),
    "metric": (_one_of(*METRICS), f"one of {', '.join(METRICS)}"),
    "remaining": (_remaining, "a fraction above 0 and up to 1, {from: high, to: low} or area"),
    "direction": (_one_of(*DIRECTIONS), f"one of {', '.join(DIRECTIONS)}"),
    "value": (_number, "a number: what the difference left less right is held against (default 0)"),
    "margin": (_above_0, "a number above 0"),
    "relative": (_flag, "true or false: whether differences are parts of the right side"),
    "tolerance": (_above_0, "a number above 0: how far off, as a part, the nearest level may be (default 0.12)"),
}

# Keys that every claim has.
_REQUIRED = ("name", "source", "text", "compare", "remaining", "direction")
