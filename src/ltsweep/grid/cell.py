"""One point of the grid: a fully resolved config, checked, with the key that names its results."""

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ltsweep.errors import UserError
from ltsweep.grid.rules import Rule, flag, number, one_of, whole
from ltsweep.schema import VERSION

# Enters every key.
SCHEMA = VERSION

# Where and how the work is done: decides no number, so stays out of the key.
SETTINGS = ("study", "data_dir", "device", "workers", "stack_size", "checkpoint_every", "force", "hydra")

# What cells of one stack may differ in, by dotted name; everything else splits stacks.
WITHIN_STACK = ("seed", "init", "prune_rate", "lr.value", "optimizer.weight_decay")

GROUPS = ("model", "dataset", "init", "optimizer", "lr", "prune_rate", "method")

VALUES = ("seed", "levels", "epochs", "iterations", "batch_size", "validation", "evaluate_every", "precision")


@dataclass(frozen=True)
class Cell:
    """A resolved config without the settings of `SETTINGS`, and its key: 16 hexadecimal digits.

    largest_stack: kind of device -> the networks of its model that are worth training as one program, where the model's
    YAML says so. Like all that says how the work is done, it is no part of the config or the key.
    """

    config: Mapping[str, Any]
    key: str
    largest_stack: Mapping[str, int] = field(default_factory=dict)

    @functools.cached_property
    def stack_key(self) -> str:
        """Return the hash of everything that cells trained together must have in common."""
        shared = json.loads(json.dumps(self.config))
        for name in WITHIN_STACK:
            *parents, last = name.split(".")
            functools.reduce(lambda node, part: node.get(part, {}), parents, shared).pop(last, None)
        return _digest(shared)


def from_config(config: DictConfig) -> Cell:
    """Return the cell of a composed config, with or without Hydra's own node. Raises UserError for a bad value."""
    plain = resolved(config)
    check(plain)
    return Cell(plain, key(plain), _largest_stack(config))


def resolved(config: DictConfig) -> dict[str, Any]:
    """Return the config as plain containers, every interpolation resolved and the settings left out."""
    # Hydra's node is large, and is not all resolved while it is being used.
    names = [str(name) for name in config if name != "hydra"]
    own = OmegaConf.masked_copy(config, names) if "hydra" in config else config
    try:
        plain = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(" ".join(str(error).split())) from error
    assert isinstance(plain, dict)
    if isinstance(plain.get("model"), dict):
        plain["model"].pop("largest_stack", None)
    return {str(name): value for name, value in plain.items() if name not in SETTINGS}


def _largest_stack(config: DictConfig) -> dict[str, int]:
    found = config.model.get("largest_stack") or {}
    found = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
    if not isinstance(found, dict) or not all(
        kind in ("cpu", "cuda") and isinstance(n, int) and not isinstance(n, bool) and n >= 1
        for kind, n in found.items()
    ):
        raise UserError(f"model.largest_stack={found} is out of range: it is {{cpu: N, cuda: N}}, whole numbers from 1")
    return {str(kind): n for kind, n in found.items()}


def key(plain: Mapping[str, Any]) -> str:
    """Return the name of a cell's results: a hash of its whole resolved config and the record schema."""
    return _digest({"schema": SCHEMA, **plain})


def cell_key(*, _root_: DictConfig) -> str:
    """Resolve `${cell_key:}`, which names a cell's folder by its key under every launcher."""
    return key(resolved(_root_))


def register_resolver() -> None:
    """Make `${cell_key:}` known to OmegaConf."""
    OmegaConf.register_new_resolver("cell_key", cell_key, replace=True)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(_canonical(value), sort_keys=True).encode()).hexdigest()[:16]


def _canonical(value: object) -> object:
    """Return the value with whole floats as integers, so that lr=1 and lr=1.0 are one cell."""
    if isinstance(value, Mapping):
        return {str(name): _canonical(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


_SHARE = number(0, 1, below=True)

# Dotted name -> what its value must be. A name that a config lacks is not looked at.
RULES: dict[str, Rule] = {
    "seed": whole(0, 2**63 - 1),
    "levels": whole(0, 1_000),
    "epochs": whole(1, 100_000),
    "iterations": whole(1, 1_000_000_000),
    "batch_size": whole(1, 1_000_000_000),
    "validation": whole(0, 1_000_000_000),
    "evaluate_every": whole(1, 1_000_000_000),
    "precision": one_of("float32", "tf32", "bf16"),
    "lr.value": number(0, 1_000, above=True),
    "lr.warmup": whole(0, 1_000_000_000),
    "lr.gamma": number(0, 1, above=True),
    "prune_rate.value": number(0, 1, above=True, below=True),
    "prune_rate.conv": _SHARE,
    "prune_rate.fc": _SHARE,
    "prune_rate.output": _SHARE,
    "optimizer.weight_decay": number(0, 1_000),
    "optimizer.momentum": number(0, 1, below=True),
    "optimizer.nesterov": flag(),
    "model.negative_slope": number(0, 1),
    "method.draws": whole(1, 1_000),
    "dataset.std": number(0, math.inf, above=True),
}
OPTIONAL = ("iterations", "evaluate_every")

_ABSENT = object()


def check(plain: Mapping[str, Any]) -> None:
    """Raise UserError for the first value out of range, or for a group that is not one of its choices."""
    unknown = [name for name in plain if name not in (*GROUPS, *VALUES)]
    if unknown:
        raise UserError(
            f"{unknown[0]} is not a name of the config; there are {', '.join((*VALUES, *SETTINGS[:-1], *GROUPS))}"
        )
    missing = [name for name in VALUES if name not in plain]
    if missing:
        raise UserError(f"{missing[0]} was removed from the config, and is needed")
    for group in GROUPS:
        choice = plain.get(group)
        if not isinstance(choice, Mapping) or not all(isinstance(choice.get(n), str) for n in ("name", "_target_")):
            raise UserError(
                f"{group}={choice!r} is not a choice of the group {group}; its YAML needs name and _target_"
            )
    for name, (holds, allowed) in RULES.items():
        value = _select(plain, name)
        if value is _ABSENT or (value is None and name in OPTIONAL):
            continue
        if not holds(value):
            raise UserError(f"{name}={value} is out of range: {name} is {allowed}")
    milestones = plain["lr"].get("milestones", [])
    if not isinstance(milestones, list) or not all(_SHARE[0](milestone) for milestone in milestones):
        raise UserError(f"lr.milestones={milestones} is out of range: each is {_SHARE[1]}, a fraction of the level")


def _select(plain: Mapping[str, Any], name: str) -> Any:
    node: Any = plain
    for part in name.split("."):
        node = node.get(part, _ABSENT) if isinstance(node, Mapping) else _ABSENT
    return node
