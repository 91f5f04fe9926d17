"""The key of a cell: a hash of its resolved config, which names its results. New fields do not change old keys."""

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ltsweep.schema import EXTENT, VERSION

# Fields added after results had been stored, each with the value that does what the code did before the field. A field
# with this value is left out of the hash, so that older results keep their keys. The value need not be the default in
# conf/: a changed default gives new keys.
NEUTRAL: dict[str, Any] = {
    "method.score": "magnitude",
    "method.score_level": None,
    "method.remaining": None,
    "dataset.augment": [],
    "prune_rate.embedding": None,
    "evaluate_train": True,
    "evaluate_test": None,
    "model.depth": None,
    "model.form": "ramp",
    "model.widths": [],
    "label_smoothing": 0.0,
    "clip": None,
    "stop": None,
}


def key(plain: Mapping[str, Any], version: int = VERSION) -> str:
    """Return the key: 16 hexadecimal digits of a hash of the resolved config and the version of the records.

    The extent of a cell is left out; records of version 1 have it in their keys.
    """
    named = without(plain, *EXTENT) if version > 1 else plain
    return digest({"schema": version, **_without_neutral(named)})


def digest(value: object) -> str:
    """Return a hash of plain containers, 16 hexadecimal digits; the order of names does not matter."""
    return hashlib.sha256(json.dumps(_canonical(value), sort_keys=True).encode()).hexdigest()[:16]


def without(config: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return a copy of a config without some fields, given by their dotted names."""
    changed: dict[str, Any] = copy.deepcopy(dict(config))
    for name in names:
        group, _, field = name.partition(".")
        if not field:
            changed.pop(group, None)
        elif isinstance(changed.get(group), dict):
            changed[group].pop(field, None)
    return changed


def _without_neutral(plain: Mapping[str, Any]) -> dict[str, Any]:
    neutral = [name for name, value in NEUTRAL.items() if _has(plain, name, value)]
    return without(plain, *neutral)


def _has(plain: Mapping[str, Any], name: str, value: object) -> bool:
    group, _, field = name.partition(".")
    choice = plain.get(group) if field else plain
    found = choice.get(field or group) if isinstance(choice, Mapping) else None
    return type(found) is type(value) and found == value  # 1 is not true


def _canonical(value: object) -> object:
    """Return the value with whole floats as integers, so that lr=1 and lr=1.0 are one cell."""
    if isinstance(value, Mapping):
        return {str(name): _canonical(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
